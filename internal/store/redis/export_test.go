package redis

// What the tests compare with tms.lua.
var (
	Library  = library
	KeyNames = keyNames
	PoolKeys = poolKeys

	Functions = []string{fnPutPool, fnPool, fnDeletePool, fnPurge, fnGenerate, fnAssign, fnKeepAlive, fnUnblock, fnDelete,
		fnExpire, fnToken, fnTokens}
)

// CheckInfo says why a server that answers INFO so is not fit.
func CheckInfo(text string, cluster bool) error { return parseInfo(text).check(cluster) }
