-- Takeover: another process begins to serve a pool. Copies may lack what was done last, so that the pool settles: for
-- as long as a lease may last that nobody here knows of, only tokens are given that surely nobody holds.
--
-- The pool's hash has these fields for it:
--   instant        where the pool's clock stood, never more than STALE before what this process has answered
--   offset         how far the pool's clock is ahead of served time, in the life of the library that it names
--   life           when the library was loaded that served the pool last
--   run_id, master_replid, adopted_at    who began the epoch, and when by the wall clock
--   taken          T: the pool's clock when the last takeover began that made it settle
--   settled        the last instant at which it settles
--   before         the fence at which that takeover began: a lease with no greater one is inherited
--   longest        the longest ttl above lease_ttl that was granted or renewed, and
--   lasting        when no such lease can last any more
--
-- A token is given while the pool settles only if its last sign of life is at least T. Nothing but a value that TMS
-- drew, or the end of a lease that was granted after T, brings a token to that side.

local STALE = 1000
local QUIET = 1000 -- for how long after a takeover nothing is given, so that servers can report
local HOUR = 60 * 60 * 1000 -- where answers can be lost, no lease lasts longer, so that no pool settles for longer

local FIELDS = {'run_id', 'master_replid', 'life', 'instant', 'offset', 'fence', 'epoch', 'taken', 'settled', 'before',
  'longest', 'lasting'}

function identity()
  local run = match(call('INFO', 'server'), 'run_id:(%w+)')
  return run .. reigned(), match(call('INFO', 'replication'), 'master_replid:(%w+)')
end

-- Returns the stored fields by their names, numbers as such.
function stored()
  local pool, values = {}, call('HMGET', keys[1], unpack(FIELDS))
  for i, name in ipairs(FIELDS) do
    local value = values[i] or nil
    pool[name] = i > 3 and name ~= 'epoch' and tonumber(value) or value
  end
  return pool
end

-- Reports whether the pool is the one that this process left here, and no further back. If not, another process has
-- served it meanwhile, the library was loaded again, or somebody has put keys back, and fences may be out that are not
-- stored.
function known(epoch, fence) return memory and memory.epoch == epoch and tonumber(fence) >= memory.fence end

-- Remembers the pool as it is stored, with its clock so far ahead.
local function keep(pool, offset)
  if not memory then
    if count == MEMORIES then memories, count = {}, 0 end
    memory, count = {}, count + 1
    memories[place] = memory
  end
  local m = memory
  m.epoch, m.fence, m.offset, m.stored, m.instant = pool.epoch, pool.fence, offset, pool.instant, pool.instant
  m.taken, m.settled, m.before = pool.taken, pool.settled, pool.before
  m.longest, m.lasting, m.phase = pool.longest or 0, pool.lasting or 0, nil
  m.ends, m.rests = nil, nil -- see quiet
end

-- Fences are counted up from where their epoch began. That is where the clock stands, at 4096 for each ms since 2026,
-- faster than fences can be issued, so that they rise over whatever this server has forgotten: the last fences, whole
-- epochs, the pool. Where the clock is behind what is remembered, it is that, and as much more as may have been lost by
-- another process, or by this one when the library was loaded again. The clock stops counting in 2060, in the middle of
-- what lies below 2^53.
local START, LAST, EACH, LOST, UNLOADED = 1767225600000, 2 ^ 40, 4096, 2 ^ 24, 2 ^ 16

-- Returns where fences begin by the clock.
local function fenceAt() return max(0, min((brought or clock()) - START, LAST)) * EACH end

-- Reports whether a fence is so far ahead of the clock that a process which remembers nothing might issue it again.
function runsAhead(fence) return not brought and fence > fenceAt() + UNLOADED end

-- Begins an epoch, whose fences are above all that this process has issued or that are stored, by a margin at least.
local function newEpoch(pool, margin)
  highest = max((pool.fence or 0) + margin, highest + 1, fenceAt())
  pool.epoch, pool.fence, pool.life = format('%.0f', highest), highest, life
  pool.run_id, pool.master_replid = identity()
  call('HSET', keys[1], 'epoch', pool.epoch, 'fence', pool.epoch, 'adopted_at', digits(brought or clock()))
end

-- Returns a ttl as it is granted.
local function cut(ttl) return lossless and ttl or min(ttl, HOUR) end

-- Returns the longest that a lease can last of which only its holder knows.
local function longest(pool)
  local most = cut(policy.lease_ttl_ms)
  if pool.lasting and pool.lasting >= pool.instant then most = max(most, pool.longest) end
  return most
end

-- Lets the pool settle from where its clock may have stood in the old process, and at least until it would have in any
-- case.
local function unsettle(pool)
  local lasts = max(QUIET, wait + longest(pool))
  pool.instant = pool.instant + STALE + 1
  pool.taken, pool.settled, pool.before = pool.instant, max(pool.settled or 0, pool.instant + lasts), pool.fence
  call('UNLINK', some('fresh'))
  call('HSET', keys[1], 'taken', digits(pool.taken), 'settled', digits(pool.settled), 'before', pool.epoch)
end

-- Returns where the clock of a new pool stands, and of one of version 1, which has none of its own yet: its instants
-- are those of the wall clock.
local function wallInstant() return brought or served + began end

-- Goes on with the clock of the pool from its instant, whatever the time is, or where it would be if this process has
-- served it all the while. An instant that the caller brings is served time itself.
local function resumeClock(pool, offset)
  offset = offset or pool.instant - base()
  if brought then offset = max(0, offset) end
  call('HSET', keys[1], 'instant', digits(pool.instant), 'offset', digits(offset), 'life', life, 'run_id', pool.run_id,
    'master_replid', pool.master_replid)
  keep(pool, offset)
end

-- Begins an epoch in the pool.
function takeOver(pool, settles, offset)
  pool.instant = pool.instant or wallInstant()
  newEpoch(pool, not pool.epoch and 1 or offset and UNLOADED or LOST)
  if settles then unsettle(pool) end
  resumeClock(pool, offset)
end

-- Takes over a pool that this process does not know. It settles where another process has served it since, which may
-- have answered what is not stored here; and where this one knows that keys were put back, whatever the server thinks
-- that it can lose.
function adopt()
  watch() -- or the next look would find another master_replid, and forget the pool again
  memory = memories[place]
  local pool, run, replid = stored(), identity()
  pool.instant = pool.instant or wallInstant()
  local another = pool.run_id ~= run or pool.master_replid ~= replid
  local putBack = memory and (not another or pool.fence < memory.fence)
  local offset = pool.life == life and pool.offset
  if another or putBack then return takeOver(pool, putBack or not lossless) end
  takeOver(pool, false, offset or pool.instant - base())
end

-- What a pool goes through after a takeover: nothing is given, little is, all is.
local STILL, SETTLING, SETTLED = 1, 2, 3

local function phase()
  if not memory.settled or now > memory.settled then return SETTLED end
  return now > memory.taken + QUIET and SETTLING or STILL
end

-- Sets the instant of the step, never earlier than that of the step before, and stores it where it has moved. Instants
-- that callers bring may overtake each other; when they go back by much, they were wrong before. Returns true if tokens
-- can be given that could not be before.
local SLACK = 60 * 1000

function tick()
  local last = memory.instant
  now = base() + memory.offset
  if now < last and (not brought or last - now < SLACK) then now = last end
  memory.instant = now
  if now - memory.stored > STALE or now < memory.stored - STALE then
    memory.stored = now
    call('HSET', keys[1], 'instant', digits(now))
  end
  local at = phase()
  if at == memory.phase then return false end
  if at == SETTLED and memory.settled then call('UNLINK', some('fresh')) end
  memory.phase = at
  return true
end

local stamped, stampedNow, stampedAhead -- the last one, since many steps are in one ms

-- Returns how far the wall clock is ahead of the pool's.
function ahead() return (brought and 0 or began) - memory.offset end

-- Returns the instant of the step, and how far the wall clock is ahead of it, for those who want to know.
function stamp()
  if not modern then return now end
  local by = ahead()
  if now ~= stampedNow or by ~= stampedAhead then
    stamped, stampedNow, stampedAhead = format('%.0f %.0f', now, by), now, by
  end
  return stamped
end

-- Issues n fences, and returns the one before the first of them.
function issue(n)
  local last = call('HINCRBY', keys[1], 'fence', n)
  memory.fence, highest = last, max(highest, last)
  return last - n
end

function settling() return memory.phase < SETTLED end

-- Reports whether the lease is of an earlier process, which may have done more than is known here.
function inherited(r)
  return memory.before and tonumber(match(r.text, '^%S+ (%d+)')) <= memory.before
end

-- Returns the last instant on the side of the tokens that may be somebody's.
function oldSide() return memory.taken - 1 end

-- Returns what the token clock counts from: all are wound when the pool has settled.
function wound(seen) return memory.settled and max(seen, memory.settled) or tonumber(seen) end

-- Returns the earliest last sign of life of an available token that is not dead.
function oldest()
  local from = now - policy.clock
  return memory.settled and memory.settled >= from and -huge or from
end

-- Returns the earliest last sign of life of an available token that can be given.
function givable()
  if not settling() then return oldest() end
  return memory.phase == STILL and huge or memory.taken
end

-- Returns when more can be given than now.
function settlesNext()
  if not settling() then return huge end
  return memory.phase == STILL and memory.taken + QUIET or memory.settled
end

-- Cuts a ttl to what is granted, and remembers one above the pool's.
function lasts(ttl)
  ttl = cut(ttl)
  local m, over = memory, now + ttl
  if ttl <= policy.lease_ttl_ms or ttl <= m.longest and over <= m.lasting then return ttl end
  local still = m.lasting >= now
  m.longest = max(ttl, still and m.longest or 0)
  m.lasting = max(over + floor(ttl / 8) + STALE, still and m.lasting or 0)
  call('HSET', keys[1], 'longest', digits(m.longest), 'lasting', digits(m.lasting))
  return ttl
end
