package plan

// ReqidFirst and ReqidLast bound the reqids that the compiler gives out. A gateway knows its own SAs in the kernel by this range, even
// those of a plan that it no longer has, and leaves SAs outside it alone. Operators' tools and other daemons count from 1 up.
const (
	ReqidFirst uint32 = 0x7400_0000
	ReqidLast  uint32 = 0x74ff_ffff
)
