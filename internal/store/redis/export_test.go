package redis

// What the tests compare with tms.lua.
var (
	Library   = libraryOf(libraryVersion)
	KeyNames  = keyNames
	SomeNames = someNames
	PoolKeys  = poolKeys
	LibraryOf = libraryOf

	Functions = []string{fnPutPool, fnPool, fnDeletePool, fnPurge, fnGenerate, fnAssign, fnClaim, fnLeave, fnChange,
		fnExpire, fnToken, fnTokens, fnWaiters, fnUnblockClient, fnUnblockRequest, fnVersion,
		fnDraw, fnPutKey, fnDeleteKey, fnKeys,
		fnFit, fnReport, fnBeat, fnProcess}

	// OlderFunctions are those that only servers of version 1 call.
	OlderFunctions = []string{"tms1_keep_alive", "tms1_unblock", "tms1_restore", "tms1_delete"}
)

const (
	LibraryVersion = libraryVersion
	Follows        = follows
)

// AsVersion makes the store one whose library has another version. It is called before the store is used.
func (s *Store) AsVersion(version int64) { s.link.version = version }

// CheckInfo says why a server that answers INFO so is not fit.
func CheckInfo(text string, cluster bool) error { return parseInfo(text).check(cluster) }

// Listening reports whether Listen runs.
func (s *Store) Listening() bool {
	s.wakes.mu.Lock()
	defer s.wakes.mu.Unlock()
	return s.wakes.listener != nil
}

// Beat calls every server of Redis once.
func (s *Store) Beat() { s.beat() }

// StopBeats ends the beats, as if this process was stopped.
func (s *Store) StopBeats() {
	s.pulse.end()
	s.pulse.beating.Wait()
}
