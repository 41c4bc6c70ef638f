package suite

import (
	"crypto/sha3"
	"errors"
	"fmt"
	"slices"

	"github.com/trike-ipsec/trike/internal/ikev2"
	"github.com/trike-ipsec/trike/internal/secret"
)

// SeedLen is the length of a KEJob's Seed in octets.
const SeedLen = 32

// ErrPublicValue says that the peer's key exchange data fails its method's checks (RFC 6989 section 2, RFC 7748 section 6.1, FIPS 203 sections 7.2 and 7.3): the peer's fault,
// answered with INVALID_SYNTAX (RFC 6989 section 2.5). Any other error of a KEResult is ours.
var ErrPublicValue = errors.New("public value refused")

// KEOp is what a KEJob computes.
type KEOp uint8

const (
	Generate KEOp = iota + 1 // the initiator's private and public value
	Respond                  // the responder's public value, for a KEM the ciphertext, and the shared secret
	Finish                   // the initiator's shared secret
)

// String says what the operation is.
func (o KEOp) String() string {
	switch o {
	case Generate:
		return "generate"
	case Respond:
		return "respond"
	case Finish:
		return "finish"
	}
	return fmt.Sprintf("operation %d", uint8(o))
}

// KEJob is one piece of public-key work. It is plain data, runs on any goroutine, and gives the same result for the same Seed.
type KEJob struct {
	ID     uint64 // the asker's; comes back in the result
	Op     KEOp
	Method ikev2.KEID
	// Seed is SeedLen octets of fresh randomness, for Generate and Respond. Every job has its own: keys of two methods must not come from one seed
	// (draft-ietf-ipsecme-ikev2-mlkem section 3).
	Seed secret.Bytes
	// Private is what Generate returned, for Finish.
	Private secret.Bytes
	// Peer is the other side's key exchange data, for Respond and Finish.
	Peer []byte
}

// String names the job without what is in it.
func (j KEJob) String() string {
	return fmt.Sprintf("key exchange job %d: %v %v", j.ID, j.Op, j.Method)
}

// KEResult is what a KEJob came to. What the operation does not make is empty.
type KEResult struct {
	ID      uint64
	Public  []byte       // Generate, Respond: our key exchange data
	Private secret.Bytes // Generate
	Shared  secret.Bytes // Respond, Finish: g^ir or the KEM's shared secret, of a length fixed by the method
	Err     error        // with it, everything else is empty
}

// String says how it went.
func (r KEResult) String() string {
	if r.Err != nil {
		return fmt.Sprintf("key exchange job %d: %v", r.ID, r.Err)
	}
	return fmt.Sprintf("key exchange job %d: done", r.ID)
}

// method does the mathematics of one KE transform. entropy is a stream that only this job has.
type method interface {
	generate(entropy *sha3.SHAKE) (private, public []byte, err error)
	respond(entropy *sha3.SHAKE, peer []byte) (public, shared []byte, err error)
	finish(private, peer []byte) (shared []byte, err error)
}

// Run does the work. It takes over Seed and Private and wipes them: a private value serves one exchange (RFC 7296 section 2.12). Who may need Private
// again hands in a copy.
func (j KEJob) Run() KEResult {
	defer closeAll(&j.Seed, &j.Private)
	r, err := j.run()
	if err != nil {
		return KEResult{ID: j.ID, Err: fmt.Errorf("%v %v: %w", j.Op, j.Method, err)}
	}
	r.ID = j.ID
	return r
}

func (j KEJob) run() (KEResult, error) {
	m, ok := methodOf(j.Method)
	if !ok {
		return KEResult{}, errors.New("key exchange method is not supported")
	}
	if (j.Op == Generate || j.Op == Respond) && j.Seed.Len() != SeedLen {
		return KEResult{}, fmt.Errorf("seed of %d octets, needs %d", j.Seed.Len(), SeedLen)
	}
	// A method sees only data of the right length.
	if want := PublicLen(j.Method, j.Op == Finish); (j.Op == Respond || j.Op == Finish) && len(j.Peer) != want {
		return KEResult{}, fmt.Errorf("%w: %d octets, needs %d", ErrPublicValue, len(j.Peer), want)
	}
	switch j.Op {
	case Generate:
		private, public, err := m.generate(j.entropy())
		return KEResult{Private: secret.New(private), Public: public}, err
	case Respond:
		public, shared, err := m.respond(j.entropy(), j.Peer)
		return KEResult{Public: public, Shared: secret.New(shared)}, err
	case Finish:
		shared, err := m.finish(j.Private.Reveal(), j.Peer)
		return KEResult{Shared: secret.New(shared)}, err
	}
	return KEResult{}, errors.New("no such operation")
}

// entropy expands the seed into as much as rejection sampling may want, apart for each method and operation.
func (j KEJob) entropy() *sha3.SHAKE {
	s := sha3.NewSHAKE256()
	_, _ = s.Write([]byte{byte(j.Op), byte(j.Method >> 8), byte(j.Method)})
	_, _ = s.Write(j.Seed.Reveal())
	return s
}

type methodRow struct {
	id        ikev2.KEID
	initiator int // octets of key exchange data
	responder int
	m         method
}

// methods lists the data sizes of RFC 3526, 5903, 8031 and draft-ietf-ipsecme-ikev2-mlkem section 2.1.
var methods = []methodRow{
	{ikev2.KE_CURVE25519, 32, 32, x25519},
	{ikev2.KE_ECP256, 64, 64, ecp256},
	{ikev2.KE_ECP384, 96, 96, ecp384},
	{ikev2.KE_ECP521, 132, 132, ecp521},
	{ikev2.KE_MLKEM512, 800, 768, mlkem512},
	{ikev2.KE_MLKEM768, 1184, 1088, mlkem768},
	{ikev2.KE_MLKEM1024, 1568, 1568, mlkem1024},
	{ikev2.KE_MODP1024, 128, 128, modp1024},
	{ikev2.KE_MODP2048, 256, 256, modp2048},
	{ikev2.KE_MODP3072, 384, 384, modp3072},
	{ikev2.KE_MODP4096, 512, 512, modp4096},
}

func rowOf(id ikev2.KEID) (methodRow, bool) {
	i := slices.IndexFunc(methods, func(r methodRow) bool { return r.id == id })
	if i < 0 {
		return methodRow{}, false
	}
	return methods[i], true
}

func methodOf(id ikev2.KEID) (method, bool) {
	r, ok := rowOf(id)
	return r.m, ok
}

// PublicLen is the length of a method's key exchange data in octets, as the exchange's initiator or responder sends it; 0 for a method that is
// not supported. The two differ for KEMs alone.
func PublicLen(id ikev2.KEID, responder bool) int {
	r, _ := rowOf(id)
	if responder {
		return r.responder
	}
	return r.initiator
}
