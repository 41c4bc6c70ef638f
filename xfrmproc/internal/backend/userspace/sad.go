package userspace

import (
	"maps"
	"sync/atomic"
)

// sad finds pairs by inbound SPI (RFC 4301 section 4.4.2). Readers never wait: each shard is an immutable map that the one writer replaces. SPIs are
// random, so shards stay small.
type sad struct {
	shards [1024]atomic.Pointer[map[uint32]*pair]
}

func (s *sad) shard(spi uint32) *atomic.Pointer[map[uint32]*pair] {
	return &s.shards[spi%uint32(len(s.shards))]
}

func (s *sad) get(spi uint32) *pair {
	if m := s.shard(spi).Load(); m != nil {
		return (*m)[spi]
	}
	return nil
}

// put adds or, with nil, removes.
func (s *sad) put(spi uint32, p *pair) {
	next := map[uint32]*pair{}
	if old := s.shard(spi).Load(); old != nil {
		next = maps.Clone(*old)
	}
	if next[spi] = p; p == nil {
		delete(next, spi)
	}
	s.shard(spi).Store(&next)
}

func (s *sad) each(f func(*pair)) {
	for i := range s.shards {
		if m := s.shards[i].Load(); m != nil {
			for _, p := range *m {
				f(p)
			}
		}
	}
}
