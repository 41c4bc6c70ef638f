// Package relay is the EAP method that carries whole conversations to RADIUS servers (RFC 3579). Which EAP method the peer speaks is between it and
// the server; what comes back is a yes or a no, the MSK, and what the server grants. The sessions that were let in are accounted for (RFC 2866), and
// the servers may end or change them (RFC 5176).
//
// # Settings
//
//	servers: "10.0.0.5, radius.example.com:1812"    where the servers are, best first; "radsec://host:2083" speaks RADIUS over TLS (RFC 6614)
//	acct-servers: "10.0.0.6:1813"                   where accounting goes: unless set to the same hosts, UDP one port higher; "none" keeps no accounts
//	acct-on-off: "no"                               do not tell the servers when this relay begins and ends
//	timeout: "1s", tries: "3", dead-time: "60s"     when to repeat a request, twice as long each time; how often; how long to pass over a server that was silent
//	nas-identifier: "gw1", nas-address: "192.0.2.1" who this gateway says it is; unless set trike, and the address that the peer came to
//	groups-from: "class"                            which attribute names the peer's groups: class, filter-id, a number, VENDOR:NUMBER or none
//	keyless: "allow"                                let peers use EAP methods that make no keys, such as MD5
//	coa-listen: "192.0.2.1:3799"                    where servers may send Disconnect and CoA requests
//	coa-clients: "10.0.0.0/29", coa-window: "5m"    who may, and how far their clocks may be from ours
//	tls-server-name: "radius.example.com"           the name in the certificates of servers of TLS, unless it is the one in servers
//
// Secrets: "secret", which this gateway and servers of UDP share, and which signs Disconnect and CoA requests (a line's end behind it does not count);
// "tls-certificate", "tls-key" and "tls-ca" for RADIUS over TLS. The plugin needs the network.
//
// # What servers are told
//
// Every Access-Request has User-Name, NAS-Identifier, NAS-IP-Address or NAS-IPv6-Address, NAS-Port-Type Virtual, NAS-Port-Id (the policy's connection),
// Called-Station-Id and Calling-Station-Id (the outer addresses), Acct-Session-Id, Service-Type Framed and Framed-MTU.
//
// # What servers may give
//
// Framed-IP-Address, Framed-IPv6-Address (or a Framed-IPv6-Prefix that comes to one address), Session-Timeout, Acct-Interim-Interval, Class, Filter-Id,
// the groups, and a User-Name that stands for the peer from then on.
//
// # What it is worth
//
// A request's Message-Authenticator comes first and an answer without one does not count, so that a forged answer needs the secret. Yet the secret protects by MD5 all
// that goes over UDP, the MSK among it: make it long and random, keep that way to networks that are trusted, and use TLS everywhere else. Disconnect and CoA requests must
// have a Message-Authenticator and an Event-Timestamp; what is repeated within the window is answered, but not carried out again.
//
// A plugin that is started anew while sessions stand cannot tell that from the gateway's start: with the first session that begins then, servers hear Accounting-On and
// may take the others for ended until their next counters. Where that matters, say acct-on-off: "no".
package relay
