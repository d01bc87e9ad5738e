-- A step: what every function on a pool begins and ends with.

-- Defined further on.
local newQueue, handOff, lapse

-- Goes to a pool.
local function enter(k, when)
  local database = hear(when)
  keys, place, opened = keysOf(k[1]), k[1] .. database, false
  memory = memories[place]
end

-- Reads the pool that a step is on. Returns false if there is no such pool.
local function open(k, when)
  enter(k, when)
  texts = {}
  released, quarantined, deleted = 0, 0, 0
  local pool = call('HMGET', k[1], 'policy', 'epoch', 'metadata', 'queue', 'fence')
  if not pool[1] then return false end
  opened = true
  policy = parsed[pool[1]] or parse(pool[1])
  described, share = pool[3], policy.labelled and STEP / 8 or STEP
  if not known(pool[2], pool[5]) then adopt() end
  local more = tick()
  queue = pool[4] and newQueue(true)
  if queue then queue.kept, queue.owes = more or pool[4] == '2', pool[4] == '2' end
  return true
end

-- Ends a step: hands what it has made available to waiters, and adds its expiries to the pool's counters.
local function finish()
  if queue then handOff() end
  if released > 0 then call('HINCRBY', keys[1], 'released', released) end
  if quarantined > 0 then call('HINCRBY', keys[1], 'quarantined', quarantined) end
  if deleted > 0 then call('HINCRBY', keys[1], 'deleted', deleted) end
  released, quarantined, deleted = 0, 0, 0
end

-- A full Redis refuses what takes more space; it must not refuse what may free some.
local function register(name, step, flags)
  local function callback(k, args)
    if not call then bind() end
    local result = step(k, args)
    if opened then finish() end
    return result
  end
  redis.register_function({function_name = 'tms1_' .. name, callback = callback, flags = flags or {'allow-oom'}})
end
