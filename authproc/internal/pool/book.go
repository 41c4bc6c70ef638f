package pool

import (
	"container/list"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"
	"net/netip"
	"strings"
	"time"

	"github.com/trike-ipsec/trike/internal/plan"
)

// Provisional is how long a lease is held for a peer whose IKE SA does not stand yet.
const Provisional = 2 * time.Minute

// Book knows all leases. It has one user at a time.
type Book struct {
	file  File
	slots int   // in the file, used or not
	spare []int // slots without a lease
	pools map[string]*area

	byAddr    map[netip.Addr]*lease
	byWho     map[[32]byte][]*lease
	bySession map[uint64][]*lease
	released  *list.List // of *lease, the longest released first
	due       int64      // Unix seconds before which no lease comes to its end
}

// lease is one address and whose it is, or was last.
type lease struct {
	record
	slot      int
	confirmed bool
	given     int64         // Unix seconds
	place     *list.Element // in released; nil while it is held
}

// end is when a held lease is free again, Unix seconds.
func (l *lease) end() int64 {
	if soon := l.given + int64(Provisional/time.Second); !l.confirmed && soon < l.until {
		return soon
	}
	return l.until
}

// area is one pool: its range, and the first address that nobody has had.
type area struct {
	plan.Pool
	fresh netip.Addr
}

func (a *area) has(x netip.Addr) bool { return a.First.Compare(x) <= 0 && x.Compare(a.Last) <= 0 }

// Open reads what was given before. A nil file makes a book that forgets.
func Open(f File) (*Book, error) {
	b := &Book{file: f, pools: map[string]*area{}, byAddr: map[netip.Addr]*lease{}, byWho: map[[32]byte][]*lease{}, bySession: map[uint64][]*lease{},
		released: list.New()}
	if f == nil {
		return b, nil
	}
	used := map[int]bool{}
	slots, err := readAll(f, func(slot int, r record) {
		if b.byAddr[r.addr] != nil {
			return // an older copy; the slot is spare
		}
		used[slot] = true
		// What was held stays held until its end: whoever has it may still use it, and only a confirmation is missed.
		b.enter(&lease{record: r, slot: slot, confirmed: true})
	})
	if err != nil {
		return nil, err
	}
	b.slots = slots
	for i := range slots {
		if !used[i] {
			b.spare = append(b.spare, i)
		}
	}
	return b, nil
}

func (b *Book) enter(l *lease) {
	b.byAddr[l.addr] = l
	b.byWho[l.who] = append(b.byWho[l.who], l)
	if l.session == 0 {
		l.place = b.released.PushBack(l)
	} else {
		b.bySession[l.session] = append(b.bySession[l.session], l)
	}
}

// Use puts a plan's pools in force. Leases of pools that are gone stay until they end, so that an address is not given twice when a pool comes back.
func (b *Book) Use(pools []plan.Pool) {
	before := b.pools
	b.pools = make(map[string]*area, len(pools))
	for _, p := range pools {
		a := &area{Pool: p, fresh: p.First}
		if old := before[p.Name]; old != nil && old.First == p.First && old.Last == p.Last {
			a.fresh = old.fresh
		}
		b.pools[p.Name] = a
	}
}

// Wish is what a peer wants.
type Wish struct {
	Pools   []string // of the connection, tried in this order
	Who     string   // identity in a form that is equal for one peer
	Session uint64   // that will hold it; not 0
	IPv6    bool     // the family
	Want    netip.Addr
	Only    bool // Want or nothing: a back end decided
	// Take lets the session have the address that the same identity holds now: its SA is about to be replaced.
	Take  bool
	Until time.Time // the grant's end
}

// Empty says that no pool had an address.
type Empty struct {
	Pools []string
	IPv6  bool
	Held  int // addresses of these pools in use
}

func (e *Empty) Error() string {
	family := "IPv4"
	if e.IPv6 {
		family = "IPv6"
	}
	if e.Held == 0 {
		return fmt.Sprintf("none of the pools %q has %s addresses", strings.Join(e.Pools, ", "), family)
	}
	return fmt.Sprintf("no %s address is left in %s: all %d are in use. Widen the pool's range, or end sessions with `trike down`", family, strings.Join(e.Pools, ", "), e.Held)
}

// Lease gives an address: the one that this identity had, the one that it wants, one that nobody had, or the one that was released longest ago.
func (b *Book) Lease(w Wish, now time.Time) (netip.Addr, error) {
	b.expire(now)
	areas := b.areas(w)
	who := sha256.Sum256([]byte(w.Who))
	l := b.own(who, w, areas)
	if w.Only && l != nil && l.addr != w.Want {
		l = nil
	}
	if l == nil {
		l = b.wanted(w, areas)
	}
	if l == nil && w.Only {
		return netip.Addr{}, fmt.Errorf("the address %v, which the authentication server wants the peer to have, is in use or in none of the pools %s", w.Want, strings.Join(w.Pools, ", "))
	}
	if l == nil {
		l = b.fresh(areas)
	}
	if l == nil {
		l = b.oldest(areas)
	}
	if l == nil {
		return netip.Addr{}, b.empty(w, areas)
	}
	return l.addr, b.give(l, who, w, now)
}

func (b *Book) areas(w Wish) (out []*area) {
	for _, name := range w.Pools {
		if a := b.pools[name]; a != nil && a.First.Is6() == w.IPv6 {
			out = append(out, a)
		}
	}
	return out
}

func within(areas []*area, x netip.Addr) bool {
	for _, a := range areas {
		if a.has(x) {
			return true
		}
	}
	return false
}

// own is the address that this identity holds and gives up, or had last.
func (b *Book) own(who [32]byte, w Wish, areas []*area) (best *lease) {
	for _, l := range b.byWho[who] {
		if !within(areas, l.addr) || l.session != 0 && (!w.Take || l.session == w.Session) {
			continue
		}
		if best == nil || l.addr == w.Want || best.session == 0 && l.session != 0 && best.addr != w.Want {
			best = l
		}
	}
	return best
}

func (b *Book) wanted(w Wish, areas []*area) *lease {
	if !w.Want.IsValid() || !within(areas, w.Want) {
		return nil
	}
	if l := b.byAddr[w.Want]; l != nil {
		if l.session != 0 {
			return nil
		}
		return l
	}
	return &lease{record: record{addr: w.Want}, slot: -1}
}

// fresh is an address that nobody had. The cursor of an area only rises, so that all calls together look at each address once.
func (b *Book) fresh(areas []*area) *lease {
	for _, a := range areas {
		for a.fresh.IsValid() && a.has(a.fresh) {
			x := a.fresh
			a.fresh = x.Next()
			if b.byAddr[x] == nil {
				return &lease{record: record{addr: x}, slot: -1}
			}
		}
	}
	return nil
}

func (b *Book) oldest(areas []*area) *lease {
	for e := b.released.Front(); e != nil; e = e.Next() {
		if l := e.Value.(*lease); within(areas, l.addr) {
			return l
		}
	}
	return nil
}

func (b *Book) empty(w Wish, areas []*area) error {
	e := &Empty{Pools: w.Pools, IPv6: w.IPv6}
	for addr, l := range b.byAddr {
		if l.session != 0 && within(areas, addr) {
			e.Held++
		}
	}
	return e
}

// give writes the lease down before anybody hears of it.
func (b *Book) give(l *lease, who [32]byte, w Wish, now time.Time) error {
	if l.slot < 0 {
		if l.slot = b.slotFor(); l.slot < 0 {
			return fmt.Errorf("%d leases are in use, and no more can be remembered", maxSlots)
		}
	}
	b.leave(l)
	l.record = record{addr: l.addr, who: who, session: w.Session, until: w.Until.Unix()}
	l.confirmed, l.given, l.place = false, now.Unix(), nil
	b.enter(l)
	b.due = min(b.due, l.end())
	return b.write(l)
}

// leave takes a lease out of the indexes.
func (b *Book) leave(l *lease) {
	if b.byAddr[l.addr] != l {
		return
	}
	delete(b.byAddr, l.addr)
	if b.byWho[l.who] = without(b.byWho[l.who], l); len(b.byWho[l.who]) == 0 {
		delete(b.byWho, l.who)
	}
	if b.bySession[l.session] = without(b.bySession[l.session], l); len(b.bySession[l.session]) == 0 {
		delete(b.bySession, l.session)
	}
	if l.place != nil {
		b.released.Remove(l.place)
		l.place = nil
	}
}

func without(list []*lease, l *lease) []*lease {
	out := list[:0]
	for _, x := range list {
		if x != l {
			out = append(out, x)
		}
	}
	return out
}

// slotFor finds room in the file, if need be by forgetting who was released longest ago.
func (b *Book) slotFor() int {
	if n := len(b.spare); n > 0 {
		s := b.spare[n-1]
		b.spare = b.spare[:n-1]
		return s
	}
	if b.slots < maxSlots {
		b.slots++
		return b.slots - 1
	}
	e := b.released.Front()
	if e == nil {
		return -1
	}
	l := e.Value.(*lease)
	b.leave(l)
	for _, a := range b.pools { // it is fresh again
		if a.has(l.addr) && l.addr.Less(a.fresh) {
			a.fresh = l.addr
		}
	}
	return l.slot
}

func (b *Book) write(l *lease) error {
	if b.file == nil {
		return nil
	}
	if _, err := b.file.WriteAt(l.encode(), int64(l.slot)*slotSize); err != nil {
		return fmt.Errorf("write down the lease of %v: %w", l.addr, err)
	}
	return nil
}

// Confirm says that the IKE SA of a session stands.
func (b *Book) Confirm(session uint64) {
	for _, l := range b.bySession[session] {
		l.confirmed = true
	}
}

// Extend moves the end of a session's leases.
func (b *Book) Extend(session uint64, until time.Time) error {
	for _, l := range b.bySession[session] {
		l.until = until.Unix()
		b.due = min(b.due, l.end())
		if err := b.write(l); err != nil {
			return err
		}
	}
	return nil
}

// Release frees a session's leases.
func (b *Book) Release(session uint64, now time.Time) error {
	if session == 0 {
		return nil
	}
	var fault error
	for _, l := range append([]*lease(nil), b.bySession[session]...) {
		b.leave(l)
		l.session, l.until, l.confirmed = 0, now.Unix(), false
		b.enter(l)
		if err := b.write(l); err != nil {
			fault = err
		}
	}
	return fault
}

// Abandon frees a session's leases unless they were confirmed: its peer came no further.
func (b *Book) Abandon(session uint64, now time.Time) {
	for _, l := range b.bySession[session] {
		if !l.confirmed {
			_ = b.Release(session, now)
			return
		}
	}
}

// Held are the addresses of a session.
func (b *Book) Held(session uint64) (out []netip.Addr) {
	for _, l := range b.bySession[session] {
		out = append(out, l.addr)
	}
	return out
}

// Holder is the session that holds an address, 0 for none.
func (b *Book) Holder(a netip.Addr) uint64 {
	if l := b.byAddr[a]; l != nil {
		return l.session
	}
	return 0
}

// expire frees what has come to its end. It looks at all leases, but only when one may be due.
func (b *Book) expire(now time.Time) {
	if now.Unix() < b.due {
		return
	}
	b.due = math.MaxInt64
	for session, ls := range b.bySession {
		for _, l := range ls {
			if now.Unix() >= l.end() {
				_ = b.Release(session, now)
				break
			}
			b.due = min(b.due, l.end())
		}
	}
}

// Count tells of a pool how many addresses it has and how many are held. Sizes beyond 2^62 are told as 2^62.
func (b *Book) Count(name string) (size uint64, held int) {
	a := b.pools[name]
	if a == nil {
		return 0, 0
	}
	for addr, l := range b.byAddr {
		if l.session != 0 && a.has(addr) {
			held++
		}
	}
	return span(a.First, a.Last), held
}

func span(first, last netip.Addr) uint64 {
	f, l := first.As16(), last.As16()
	hi := binary.BigEndian.Uint64(l[:8]) - binary.BigEndian.Uint64(f[:8])
	lo, borrow := binary.BigEndian.Uint64(l[8:])-binary.BigEndian.Uint64(f[8:]), binary.BigEndian.Uint64(l[8:]) < binary.BigEndian.Uint64(f[8:])
	if borrow {
		hi--
	}
	if hi != 0 || lo >= 1<<62 {
		return 1 << 62
	}
	return lo + 1
}
