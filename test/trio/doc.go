// Package trio runs the three processes of two gateways in one program: the real Run functions, the real frames and routes on links in memory, the built-in ESP
// over a simulated device and a simulated network, and a clock that moves when everybody waits (testing/synctest). The test plays triked.
//
// The scenes show what the processes do together, and what each of them can not be brought to do by a neighbour that was taken over (docs/threat-model.md
// points here).
package trio
