package engine

// Leftovers counts what an engine holds besides what its IKE SAs show: questions without an answer, timers that have not gone off, IKE SAs by SPI, and
// children by IKE SA.
func (e *Engine) Leftovers() (questions, timers, sas, children int) {
	for _, t := range e.timers {
		if t.f != nil {
			timers++
		}
	}
	for _, sa := range e.sas {
		children += len(sa.children)
	}
	return len(e.waits), timers, len(e.sas) - e.buried, children
}
