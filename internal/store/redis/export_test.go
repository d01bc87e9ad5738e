package redis

// What the tests compare with tms.lua.
var (
	Library   = library
	KeyNames  = keyNames
	SomeNames = someNames
	PoolKeys  = poolKeys

	Functions = []string{fnPutPool, fnPool, fnDeletePool, fnPurge, fnGenerate, fnAssign, fnClaim, fnLeave, fnKeepAlive,
		fnUnblock, fnRestore, fnDelete, fnExpire, fnToken, fnTokens, fnUnblockClient}
)

// CheckInfo says why a server that answers INFO so is not fit.
func CheckInfo(text string, cluster bool) error { return parseInfo(text).check(cluster) }

// Listening says whether Listen runs.
func (s *Store) Listening() bool {
	s.wakes.mu.Lock()
	defer s.wakes.mu.Unlock()
	return s.wakes.listener != nil
}
