package redis

// poolIndex is the sorted set with the names of all pools. It lies in a slot of its own.
const poolIndex = "tms:pools"

// storeID is the string with a random ID of the data. It lies in a slot of its own.
const storeID = "tms:store"

// secretKey is the string with the secret of the installation, in hexadecimal digits. It lies in a slot of its own.
const secretKey = "tms:secret"

// keyNames are the ends of the keys of a pool, in the order of NAMES in names.lua. Those with a colon are prefixes: a
// token's value follows. The last one is the prefix of the keys in someNames.
var keyNames = [...]string{
	"pool", "available", "assigned", "cooling", "quarantined", "seen", "lease:", "token:", "past", "",
}

// someNames are the ends of the keys that only some pools have, in the order in which tms.lua describes them.
var someNames = [...]string{
	"lane:", "client:", "holders", "fresh", "line:", "several", "beyond", "waiting", "handed", "absent", "tickets",
	"requests", "answers", goneName, wakeName,
}

// goneName is the end of the mark of a pool that was deleted.
const goneName = "gone"

// wakeName begins the end of a channel's name: the inbox follows.
const wakeName = "wake:"

// keyPrefix returns how all keys of the pool begin. The braces put them into one hash slot.
func keyPrefix(pool string) string { return "tms:{" + pool + "}:" }

// poolKeys returns the names of the pool's keys. The first of them is what every function takes for KEYS; the library
// makes the others of it.
func poolKeys(pool string) []string {
	prefix := keyPrefix(pool)
	keys := make([]string, len(keyNames))
	for i, name := range keyNames {
		keys[i] = prefix + name
	}
	return keys
}

// The functions of the library.
const (
	libraryName = "tms1"

	fnPutPool    = "tms1_put_pool"
	fnPool       = "tms1_pool"
	fnDeletePool = "tms1_delete_pool"
	fnPurge      = "tms1_purge"
	fnGenerate   = "tms1_generate"
	fnAssign     = "tms1_assign"
	fnClaim      = "tms1_claim"
	fnLeave      = "tms1_leave"
	fnChange     = "tms1_change"
	fnExpire     = "tms1_expire"
	fnToken      = "tms1_token"
	fnTokens     = "tms1_tokens"
	fnWaiters    = "tms1_waiters"

	fnDraw = "tms1_draw"

	fnPutKey    = "tms1_put_key"
	fnDeleteKey = "tms1_delete_key"
	fnKeys      = "tms1_keys"

	fnUnblockClient  = "tms1_unblock_client"
	fnUnblockRequest = "tms1_unblock_request"

	fnReport  = "tms1_report"
	fnBeat    = "tms1_beat"
	fnVersion = "tms1_version"
	fnProcess = "tms1_process"
	fnFit     = "tms1_fit"
)
