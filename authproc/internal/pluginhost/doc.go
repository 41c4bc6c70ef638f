// Package pluginhost runs the EAP methods of a plan: it has triked start each plugin, speaks to it by gRPC, starts it again when it ends, and gives it up when it ends again and
// again. What a plugin does wrong costs the sessions that it had open, and nothing else.
//
//	h := pluginhost.New(pluginhost.Config{Say: …, Log: …})
//	h.Use(view.Plugins, secret)
//	h.Begin("staff", 17, eapsdk.Begin{…})
//	for e := range h.Events() { … }
//
// Started, Dialed and Exited bring what triked says.
package pluginhost
