package limit

// Len returns how many buckets are kept.
func (l *Local) Len() int { return len(l.full) }
