package compiler

// explanations tell more about each code: a title, then why it matters and how to mend it.
var explanations = map[Code]string{
	CodeUnreadable: `the policy cannot be read
A policy is all .cue files of one directory that have the same package clause. Name the directory, not a file. Files must be regular ones that you
may read.`,
	CodeTooLarge: `the policy is larger than trike reads
One file may have 16 MiB, all files together 64 MiB, and there may be 4096 of them. Put the policy into a directory of its own, or let a comprehension
write what repeats.`,
	CodeSymlink: `a symbolic link leads out of the policy's directory
What is reviewed must be what is compiled. Copy the file, or put both into one CUE module.`,
	CodeSyntax: `this is not CUE
The file does not parse. The place is where the parser gave up; the slip is there or just before: often a missing comma, quote or brace.`,
	CodeNoPolicy: `the package has no policy
Begin with:

	import "github.com/trike-ipsec/trike/schema"

	policy: schema.#Policy
	policy: gateways: …`,
	CodeImport: `an import cannot be found
Policies may import trike's schema, CUE's own packages ("net", "strings", "list"), and packages of their own module. trike asks no registry: other modules
must be vendored.`,
	CodeAbandoned: `the compiler was stopped
It did not finish in the time that it had. Comprehensions that nest deeply are the usual reason.`,
	CodeEvaluator: `the evaluator could not deal with this policy
Not the policy but the program is at fault. Take out parts until the rest compiles, and report the smallest policy that does not.`,
	CodeModule: `the module file is wrong
cue.mod/module.cue must name the module and its language version. A policy needs no module file at all.`,
	CodeTag: `a tag does not fit
-t NAME=VALUE sets a field that is marked @tag(NAME). The policy has none of that name, or it takes other values.`,
	CodeValue: `a value is not one that the schema allows
The message says what was expected. docs/policy-reference.md has each field with its unit, range and default.`,
	CodeField: `there is no such field
Fields are checked by name so that a slip cannot switch off what you meant to switch on. The hint has the nearest name, or all of them.`,
	CodeMissing: `a field that is needed is missing
It is needed where the line points to.`,
	CodeOneOf: `exactly one of several fields is needed
Take away all but one, or add one.`,
	CodeConflict: `two places say different things
CUE puts all files of a package together; what they say of one field must agree. Take one of the two away, or let one of them be a default: *value.`,
	CodeReference: `a name is not defined
The expression refers to something that the package does not have. Check the spelling, and that the file is in the same package.`,
	CodeIncomplete: `a value is left open
A plan needs definite values. Fill the template's open field, or set the tag that it takes its value from.`,
	CodeName: `this is not a name
Names are 1 to 63 of a-z, A-Z, 0-9, '_', '-' and '.', and begin with a letter, a digit or '_'. They stand in logs, file names and commands.`,
	CodeNoGateway: `there is no such gateway
Links, connections and bypasses name an entry of policy.gateways.`,
	CodeNoCertificate: `there is no certificate to prove the gateway by
Where both sides authenticate by certificates, each gateway needs one: name it in ` + "`gateways: NAME: certificate`" + `, and describe it below ` + "`certificates`" + `.
A connection may name another in ` + "`auth: certificate: certificate`" + `.`,
	CodeNoAuthority: `there is no such authority
` + "`authorities`" + ` lists what a peer's certificate may chain to. A peer that chains to none of them is refused.`,
	CodeNoPlugin: `there is no such plugin
` + "`plugins`" + ` lists the programs that speak EAP, each with its file on the gateway and the file's SHA-256.`,
	CodeEAPLink: `EAP is for connections
In EAP one side asks and the other answers (RFC 7296 section 2.16), and a link has two sides that are alike. Use ` + "`certificate`" + ` in a link, or two connections.`,
	CodeNoPool: `there is no such pool
` + "`pools`" + ` lists the ranges of addresses that are given to peers.`,
	CodePool: `a pool of addresses cannot work so
A pool is a prefix or a range of one IP version, shares no address with another, and serves one gateway: an address that two peers have reaches neither. A peer that is
given an address has no other inside the tunnel, so ` + "`networks`" + ` of the peer, and other ` + "`remote`" + ` selectors, have no place beside it.`,
	CodeCertificate: `a certificate or authority cannot be used
It must hold exactly one of a file, inline PEM, or (a certificate) a raw key, be well-formed, and an authority's certificate must be allowed to sign others
(basic constraints, RFC 5280 section 4.2.1.9) unless it is the peer's own.`,
	CodeCertEnds: `a certificate has come to its end, or soon will
A peer refuses a certificate after its end. Put the new one in its place and apply the policy again: tunnels that stand are not touched.`,
	CodeCertName: `a certificate does not name the gateway
The peer looks for the gateway's ` + "`id`" + ` in the certificate: a DNS name, mail address or IP address among its alternative names, a distinguished name as its
subject (RFC 4945 section 3.1). Otherwise it refuses it.`,
	CodeCertPath: `a certificate does not chain to an authority that the other side accepts
Both sides of a link take the authorities that the link names. Give the missing intermediate certificate after the gateway's own, or name the authority.`,
	CodeNoSecret: `there is no such secret
auth.psk.secret names an entry of policy.secrets, which says in which file the key is.`,
	CodeLinkName: `a link does not say which gateways it joins
Without "between", a link's name must be the names of two gateways with a '-' between them, and there must be one way alone to read it so. Say
"between" otherwise.`,
	CodeLinkSelf: `a link joins a gateway to itself
A tunnel has two ends.`,
	CodeNameTwice: `a link and a connection have one name
Both are connections of a gateway, and commands and logs name them alike.`,
	CodeUnusedSecret: `a secret is not used
Nothing authenticates with it. Take it away, so that nobody guards a key that opens nothing.`,
	CodeIdleGateway: `a gateway has nothing to do
Neither link nor connection names it. Its plan is empty.`,
	CodeAddressTwice: `an address is used twice
Others tell gateways apart by their addresses.`,
	CodeIdentityTwice: `two have one identity
A peer's connection, and the key to check it with, are found by the two identities. Where they are the same for two connections of a gateway, a peer
could be taken for another. Give one an "id" of its own. For more traffic with the same peer, give one connection two children.`,
	CodeFamilies: `the ends have no IP version in common
IKE and ESP run between two addresses of one IP version. What they carry may be of the other.`,
	CodeIdentity: `this is not an identity
An identity is an IP address, a DNS name, user@host, or "keyid:" with an even number of hex digits (RFC 7296 section 3.5).`,
	CodeIdentityNone: `a peer has neither address nor identity
A peer that comes from any address must be known by its "id".`,
	CodeAddress: `this is not an address of a machine
Loopback is fine in tests; 0.0.0.0, ::, broadcast and multicast addresses, zones and IPv4-mapped addresses are not.`,
	CodeSameAddress: `a peer is one of the policy's own gateways
Use a link: it makes both ends from one statement, so that they cannot disagree.`,
	CodeHostBits: `a prefix has bits set beyond its length
10.1.2.3/16 is either the network 10.1.0.0/16 or the machine 10.1.2.3/32, and trike does not guess.`,
	CodeOverlap: `some packets belong to two children
Each packet must belong to one child. Selectors may lie within each other, then the narrower ones win; they must neither be equal nor cross.`,
	CodeShadow: `selectors are never reached
A child's priority comes from its widest selectors. A narrow one beside a wide one in the same child loses to another child between the two. Put them
into two children.`,
	CodeNoSelector: `nothing says what to protect
A child protects what its "local" and "remote" say, or else the "networks" of the two ends. One of these is needed on each side.`,
	CodeTSFamilies: `selectors have no counterpart
A packet has one IP version, so local and remote selectors work in pairs of the same.`,
	CodePort: `protocol and port do not fit
A port needs a protocol. Ranges are written "8000-8099". For icmp and icmpv6 the port is the message's type, 0 to 255.`,
	CodeTransport: `transport mode carries the ends' own traffic alone
There is one IP header, so its addresses are those of the two ends. Use "self", or tunnel mode for networks.`,
	CodeManySelectors: `there are too many
A child may have 256 selectors a side, a connection 256 children.`,
	CodeBothSides: `a network is on both sides
A packet's addresses tell which side it comes from and which it goes to. Two sites that use the same private network cannot be joined as they are: renumber
one of them, or protect the parts that differ.`,
	CodeHardRekey: `the SA ends before it is replaced
"hard" must be above "rekey", with enough between them for the rekey's retransmissions.`,
	CodeJitter: `the jitter takes the whole lifetime
SAs are replaced at "rekey" less a random part of up to "jitter", so that a fleet does not rekey all at once. A tenth is plenty.`,
	CodeDuration: `a duration is out of range
Durations are written "30s", "20m", "4h", "1d", "1h30m"; the message has the bounds.`,
	CodeInitiate: `this end cannot begin
With a peer at "any" address nothing is known to send to; and a peer that authenticates by EAP is the one that begins (RFC 7296 section 2.16). So "initiate" is "never".`,
	CodeRekeyOff: `the SA is never replaced
It ends at "hard", and traffic waits (protected, never in clear) until a new one stands.`,
	CodeLegacy: `the algorithm is no longer safe
3DES, SHA-1, AES-XCBC and MODP-1024 are there for peers that know nothing better, RFC 4308's suites among them. "legacy: true" in the link or connection
allows them by name, there alone.`,
	CodeProposal: `the proposal does not fit together
IKE: ENCR[-INTEG]-PRF-KE[-ADDKE]. ESP: ENCR[-INTEG][-KE[-ADDKE]][-esn|-noesn]. A cipher with its own integrity (GCM, ChaCha20-Poly1305) takes none; AES-CBC
and 3DES need one.`,
	CodeProposalTwice: `a proposal stands twice
The second can never be chosen.`,
	CodeManyProposals: `there are too many proposals
A negotiation may offer 16. The first that both ends have is taken, so a few in the right order serve best.`,
	CodeLegacyUnused: `legacy is allowed and not used
Take it away, so that nothing unsafe slips in later.`,
	CodeSecretMissing: `a secret's file is missing
The gateway cannot authenticate without it. On the gateway this is an error; elsewhere, in CI for example, it is a warning, for keys should not be there.`,
	CodeSecretRead: `a secret's file cannot be read
On the gateway trike runs as root and opens it for authproc. See that the path is right and that no directory on the way is closed.`,
	CodeSecretOpen: `others can read a secret
A key must be readable by its owner alone: chmod 600. If others may have read it already, make a new one.`,
	CodeSecretKind: `this is not a key's file
It must be a regular file, not empty, of at most 64 KiB.`,
	CodeSecretPath: `a secret's path is not plain
Write it from / on, without "..", "." and doubled slashes, so that what is reviewed is what is opened.`,
	CodePlan: `the plan breaks a rule of its format
The compiler should have found the reason in the policy. Report it with the policy.`,
}
