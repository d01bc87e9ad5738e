#!lua name=tms1

-- The transitions of TMS, one atomic step each. internal/rules says the same in Go; the contract suite holds the two
-- together. The library is one chunk of code, joined from this file and those beside it in the order of library.go.
--
-- KEYS is the first of these alone, from which the names of the others follow; servers of version 1 send all of them:
--   1 pool         hash: policy (JSON), epoch (the fence at which it began), fence, metadata ("1" once a token brought
--                  some), released, quarantined, deleted, joined (how many tickets there were), queue ("1" while there
--                  are tickets, "2" if tokens may be there that are owed to them); what served.lua and takeover.lua
--                  keep: instant, offset, life, run_id, master_replid, adopted_at, taken, settled, longest, lasting.
--                  A pool without a policy is being deleted; it has its labels in a field.
--   2 available    sorted set: token -> its last sign of life
--   3 assigned     sorted set: token -> the end of its lease
--   4 cooling      sorted set: token -> when it is ready
--   5 quarantined  sorted set: token -> since when
--   6 seen         sorted set: cooling token -> its last sign of life
--   7 lease        prefix of strings: lease:<token> is "lease_id fence assigned_at seen ttl client_id", of an assigned
--                  token, with a TTL that is only a backstop: the sorted sets are the truth about time; seen is * where
--                  it is the end of the lease less its ttl, so that a keep-alive has nothing to write here
--   8 token        prefix of strings: token:<token> is the metadata of a token that has some
--   9 past         hash: token -> "leases expired since client_id", of a token whose lease has ended, and behind a line
--                  feed its history: a line for each of its last leases, as rules.History says
--  10 some         prefix of what only some pools have. Each key costs every call, so that these are not among KEYS:
--     lane:        prefix of sorted sets, in a pool with labels: lane:<lane> is token -> its last sign of life, of the
--                  available tokens that suit the lane, which is what rules.Lane says of a match
--     client:      prefix of sorted sets, in a pool with max_leases_per_client: client:<client_id> is token -> the end
--                  of its lease, of the tokens that are assigned to the client
--     holders      hash, in such a pool: assigned token -> client_id
--     fresh        sorted set, while the pool settles: token -> the end of its lease, of those that were leased since
--                  the takeover
--     line:        prefix of sorted sets: line:<lane> is ticket -> its number in the order of joining, while it waits
--     several      sorted set: ticket of the line for any token that asks for several -> how many
--     beyond       sorted set: ticket that waits beside that line, as it asks for more than the pool holds -> how many
--     waiting      sorted set: waiting ticket -> the last instant at which it is present
--     handed       sorted set: ticket that was handed tokens -> the last instant at which it can pick them up
--     absent       sorted set: absent ticket -> the last instant at which it keeps its place
--     tickets      hash: ticket -> "print inbox " and JSON of what it asks for and was handed
--     requests     sorted set: request_id, or ticket after a line feed -> the last instant at which it is remembered
--     answers      hash: request_id -> "print until " and JSON of what the request was given
--     gone         string with a TTL, in a cluster, or where fences were ahead of the clock: the pool was deleted, and
--                  not lost; it is the last fence
--     wake:        prefix of channels: wake:<inbox> is told the tickets of that inbox that should be shown again
--
-- ARGV[1] says when the step is, and who asks: "number kind server W lossless". The number is the instant if the kind
-- is i, and the reading of the server's clock if it is r. In a database other than 0 "@" and its number follow, which
-- no function can know of itself. Servers of version 1 say only the instant, or nothing for the clock. Instants and
-- durations are ms everywhere. The instants are those of the pool's own clock: see served.lua.
-- A function answers with a string if it refused: pool_not_found, or what its header says; otherwise with an array
-- whose first element is the instant of the step, and behind it how far the wall clock is ahead of that; to servers of
-- version 1 it is the instant alone. A token stands in an answer as {state, till, record, metadata}: state
-- is 1 to 4 in the order of the sets above; till is the score in that set; record is the lease string of an assigned
-- token, otherwise the last sign of life; metadata is "" where there is none. A token that was handed to a ticket is
-- assigned, with a lease that began at 0. Packed, it is the text "state till record", with a line feed and the metadata
-- behind it where there are some; to servers of version 1 nothing is packed.

-- While the library is loaded there are no globals; the first call binds these.
local call, try, strfind, format, match, sub, floor, huge, max, min, random, ipairs, pairs, tonumber, type, unpack

local life -- when the library was loaded, in this process: no other has the same

local function bind()
  local g = _G
  call, try, strfind = redis.call, redis.pcall, string.find
  format, match, sub = string.format, string.match, string.sub
  floor, huge, max, min, random = math.floor, math.huge, math.max, math.min, math.random
  ipairs, pairs, tonumber, type, unpack = g.ipairs, g.pairs, g.tonumber, g.type, g.unpack
  local t = call('TIME')
  life = t[1] .. '.' .. t[2]
  math.randomseed(t[1] % 1000 * 1000000 + t[2]) -- every server process would draw the same otherwise
end

local AVAILABLE, ASSIGNED, COOLING, QUARANTINED = 1, 2, 3, 4
local SEEN, STRINGS, PAST = 5, 6, 7 -- no states: the set beside cooling, strings, and the hash
local SEARCH = {ASSIGNED, AVAILABLE, COOLING, QUARANTINED}
local STEP = 1000 -- most tokens that one step touches beyond those it was asked for
local AGE = 10 * 60 * 1000 -- a lease that is kept alive has its string written anew so often
local BACKSTOP = (30 * 24 * 60 + 10) * 60 * 1000 + AGE -- ten minutes more than tms.MaxTTL, from the last of these
local TICKET, PRESENCE, PICKUP = 2000, 1000, 1000 -- tms.TicketTTL, tms.PresenceTime and tms.PickupTime
local ANSWER = 10000 -- tms.AnswerTime
local NO_POOL = 'pool_not_found'

-- What lives as long as the library in this server process. It is neither stored nor replicated.
local memories, count = {}, 0 -- place -> what was left there: see adopt in takeover.lua
local MEMORIES = 2 ^ 16 -- most that there are; whoever is forgotten begins another epoch
local highest = 0 -- the highest fence of all, those of pools included that were deleted
local parsed, parsings = {}, 0 -- policies by their text

-- What the present call works with. Functions run one at a time.
local keys, now, policy, described, opened
local place, memory -- the pool's key and database, and what is remembered of it
local released, quarantined, deleted
local texts -- numbers as text, since most numbers of a step occur many times
local share -- STEP, or an eighth of it in a pool with labels, where a token that moves costs several times as much
local queue -- what the step knows of the queue, nil in a pool without tickets: see queue.lua

local function set(state) return keys[state + 1] end

local function some(name) return keys[10] .. name end

local function digits(n)
  local text = texts[n]
  if not text then
    text = format('%.0f', n)
    texts[n] = text
  end
  return text
end

local function clock()
  local t = call('TIME')
  return t[1] * 1000 + floor(t[2] / 1000)
end

local function lines(text)
  local list = {}
  for line in string.gmatch(text, '[^\n]+') do list[#list + 1] = line end
  return list
end

-- Reads a policy. One that is older than some of its parts has none of them.
local function decode(text)
  local p = cjson.decode(text)
  p.labels, p.max_leases_per_client = p.labels or '', p.max_leases_per_client or 0
  p.max_ttl_ms = p.max_ttl_ms or 0
  p.request_ttl_ms = p.request_ttl_ms or 10 * 60 * 1000
  p.history = p.history or 10
  return p
end

local function parse(text)
  if parsings == 1000 then parsed, parsings = {}, 0 end
  local p = decode(text)
  p.clock = p.token_ttl_ms > 0 and p.token_ttl_ms or huge
  p.labelled = p.labels ~= '' and lines(p.labels)
  p.limited = p.max_leases_per_client > 0
  p.label = {}
  for _, label in ipairs(p.labelled or {}) do p.label[label] = true end
  parsed[text], parsings = p, parsings + 1
  return p
end

-- One block of Lua has at most 200 local variables. So most files keep what they define to themselves, but for what
-- stands here.
local wait, modern
local hear, watch, reignAgain, reigned, identity, stored, known, adopt, takeOver, tick, ahead, stamp, issue, runsAhead
local settling, inherited, oldSide, wound, oldest, givable, settlesNext, lasts
local head, turn, supply, reach, give, serveAll, catchUp, start
local gather, standing, noneAvailable, tooMany, grantOf, addResult
local keysOf, resultOf, tell, swiftly
local lanesOf, laneKey, index, quota, backstop, endsAt, pasts, aged, ended, endsNow, told, save, about, reply, pack
local touch, giveBack, leaseSet, settleAll, firstScore, comeBack, expire, nextReturn, nextDeadline, instant
