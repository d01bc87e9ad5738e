-- The queue: who waits, whose turn it is, and what they are handed.

-- What a step knows of the queue. seats: what it has read of tickets, false for one that is not there. heads: the
-- first ticket of a line, false for none. supplies: how many tokens of a lane can be assigned. freed: the tokens that
-- the step has made available. kept: a ticket has left that tokens were kept back for. tidied: void tickets were
-- looked for. crowded: there are more than one step may drop, so that nobody's turn is known. budget: how many tokens
-- the step may still hand. waiting: how many wait. open: the pool has tickets. left: some have left.
-- owes: a step before this one could not hand out all that it made available.
function newQueue(open)
  return {seats = {}, heads = {}, supplies = {}, freed = {}, kept = false, tidied = false, crowded = false,
    budget = STEP, open = open, waiting = nil, left = false, owes = false}
end

-- A wish is what a request or a ticket asks for: client, ttl, count, lane, prefer, ids; of a ticket also the tokens
-- that it was handed.

local function seat(ticket, text, waiting, handed)
  local print, inbox, json = match(text, '^(%S+) (%S+) (.*)$')
  return {ticket = ticket, print = print, inbox = inbox, json = json, void = tonumber(waiting or handed or 0),
    waits = waiting and true, wish = nil}
end

-- Reads tickets that the step has not read yet.
local function seatAll(tickets)
  local unread = {}
  for _, ticket in ipairs(tickets) do
    if queue.seats[ticket] == nil then
      queue.seats[ticket] = false
      unread[#unread + 1] = ticket
    end
  end
  if #unread == 0 or not queue.open then return end
  local texts = call('HMGET', some('tickets'), unpack(unread))
  local waiting = call('ZMSCORE', some('waiting'), unpack(unread))
  local handed = call('ZMSCORE', some('handed'), unpack(unread))
  for i, ticket in ipairs(unread) do
    if texts[i] then queue.seats[ticket] = seat(ticket, texts[i], waiting[i], handed[i]) end
  end
end

local function seatOf(ticket)
  if queue.seats[ticket] == nil then seatAll({ticket}) end
  return queue.seats[ticket]
end

local function wishOf(s)
  s.wish = s.wish or cjson.decode(s.json)
  return s.wish
end

local function writeSeat(s)
  call('HSET', some('tickets'), s.ticket, s.print .. ' ' .. s.inbox .. ' ' .. s.json)
end

local function howManyWait()
  if not queue or not queue.open then return 0 end
  queue.waiting = queue.waiting or call('ZCARD', some('waiting'))
  return queue.waiting
end

-- Takes a waiting ticket out of its line.
local function leaveLine(s)
  local lane = wishOf(s).lane
  howManyWait()
  queue.waiting, queue.heads[lane], s.waits = queue.waiting - 1, nil, false
  call('ZREM', some('line:' .. lane), s.ticket)
  call('ZREM', some('waiting'), s.ticket)
end

-- Takes note that the ticket, which waits no longer, is owed no token any more. One who waited for several may have had
-- some kept back.
local function letGo(wish)
  if wish.lane == '' and wish.count > 1 then queue.kept = true end
end

-- Takes the ticket out of the queue.
local function drop(s)
  local wish = wishOf(s)
  if s.waits then leaveLine(s) else call('ZREM', some('handed'), s.ticket) end
  call('HDEL', some('tickets'), s.ticket)
  queue.seats[s.ticket], queue.left = false, true
  letGo(wish)
end

-- Says whether the token is still on its way to the ticket, as the wish's nth. Of a void ticket, Redis may have removed
-- the lease string.
local function underway(s, wish, n, r)
  if r.was ~= ASSIGNED then return false end
  return r.at == '0' and r.id == wish.ids[n] or r.id == '-' and s.void < now and r.score == s.void
end

-- Returns those of the tokens that the ticket was handed and that nobody has taken back since.
local function offered(s)
  local wish, records = wishOf(s), {}
  if not wish.tokens then return records end
  local found = find(wish.tokens)
  read(found)
  for i, token in ipairs(wish.tokens) do
    local r = found[token]
    if r and underway(s, wish, i, r) then records[#records + 1] = r end
  end
  return records
end

-- Takes the ticket out of the queue, and what it was handed back, as if it had never been handed. Returns how many
-- tokens that were.
local function dismiss(s)
  local records = offered(s)
  drop(s)
  for _, r in ipairs(records) do r.state = AVAILABLE end
  if #records > 0 then save(records) end
  return #records
end

local function voidOf(set, limit)
  return call('ZRANGEBYSCORE', some(set), '-inf', '(' .. digits(now), 'LIMIT', '0', limit)
end

-- Takes back at most about limit tokens that nobody has picked up in time. Returns how many.
function lapse(limit)
  local tickets, done = voidOf('handed', limit), 0
  seatAll(tickets)
  for _, ticket in ipairs(tickets) do
    if done >= limit then break end
    done = done + max(1, dismiss(queue.seats[ticket]))
  end
  return done
end

-- Drops at most limit tickets that no longer wait. Returns how many.
local function tidy(limit)
  local tickets = voidOf('waiting', limit)
  seatAll(tickets)
  for _, ticket in ipairs(tickets) do drop(queue.seats[ticket]) end
  return #tickets
end

-- Returns the first ticket of a line, its number and its lane, or false.
local function head(lane)
  if not queue.open then return false end
  if not queue.tidied then
    queue.tidied = true
    queue.crowded = tidy(STEP) == STEP
  end
  local first = queue.heads[lane]
  if first == nil then
    local found = call('ZRANGE', some('line:' .. lane), '0', '0', 'WITHSCORES')
    first = found[1] and {ticket = found[1], number = tonumber(found[2]), lane = lane} or false
    queue.heads[lane] = first
  end
  return first
end

-- Says whether the ticket, or a request without one, may be served before everybody else in its line. Whoever waits for
-- any token is owed every token: they wait only because they want more than there are.
local function turn(lane, ticket)
  local first, any = head(lane), head('')
  if queue.crowded then return false end
  if not ticket then return not first and not any end
  return first and first.ticket == ticket and (not any or lane == '' or first.number < any.number)
end

-- Returns how many tokens of a lane can be assigned.
local function supply(lane)
  local n = queue.supplies[lane]
  if not n then
    n = call('ZCOUNT', laneKey(lane), now - policy.clock, '+inf')
    queue.supplies[lane] = n
  end
  return n
end

-- Returns as many tokens as the wish asks for, which must be there: the one that it prefers, if it is among them, and
-- those that the selection takes.
local function choose(wish)
  local key, chosen = laneKey(wish.lane), {}
  if wish.prefer ~= '' then
    local seen = call('ZSCORE', key, wish.prefer)
    if seen and tonumber(seen) >= now - policy.clock then chosen[1] = wish.prefer end
  end
  if #chosen == wish.count then return chosen end
  for _, token in ipairs(candidates(key, wish.count)) do
    if #chosen < wish.count and token ~= chosen[1] then chosen[#chosen + 1] = token end
  end
  return chosen
end

-- Locks the tokens for the wish, or none. Returns their records, or nil and a token whose lock is held.
local function lock(wish, tokens, pickup)
  local fence = issue(#tokens)
  local seen, ttl, records = pickup and call('ZMSCORE', keys[2], unpack(tokens)), leaseTime(wish.ttl), {}
  for i, token in ipairs(tokens) do
    local r = record(token, AVAILABLE, 0)
    r.state, r.seen, r.till = ASSIGNED, pickup and seen[i] or now, pickup or now + ttl
    r.client = wish.client
    r.text = wish.ids[i] .. ' ' .. digits(fence + i) .. ' ' .. (pickup and '0' or digits(now)) .. ' ' .. digits(r.seen)
      .. ' ' .. ttl .. ' ' .. wish.client
    if not call('SET', keys[7] .. token, r.text, 'NX', 'PX', digits(backstop(r.till))) then
      for _, locked in ipairs(records) do call('DEL', keys[7] .. locked.token) end
      return nil, token
    end
    records[i] = r
  end
  return records
end

-- Gives the wish its tokens, to be picked up until an instant if that is given. Returns their records, or nil if
-- there are too few.
local function give(wish, pickup)
  while supply(wish.lane) >= wish.count do
    local records, locked = lock(wish, choose(wish), pickup)
    if records then
      describe(records)
      save(records)
      return records
    end
    park(locked)
  end
end

-- Wakes a ticket. A user whom Redis lets publish nothing goes on: who waits looks again in any case.
local function wake(s) try('SPUBLISH', some('wake:' .. s.inbox), s.ticket) end

-- Hands the ticket its tokens. Returns false if there are too few.
local function hand(s)
  local wish = wishOf(s)
  local records = give(wish, now + PICKUP)
  if not records then return false end
  leaveLine(s)
  letGo(wish)
  wish.tokens = {}
  for i, r in ipairs(records) do wish.tokens[i] = r.token end
  s.json, s.void = cjson.encode(wish), now + PICKUP
  call('ZADD', some('handed'), digits(s.void), s.ticket)
  writeSeat(s)
  wake(s)
  queue.budget = queue.budget - #records
  return true
end

-- Serves the first ticket of a line, if it is its turn and there are enough tokens. One whose client has come to hold
-- as many leases as it may is taken out, and woken. Returns false if nothing came of it.
local function serveFirst(first)
  local lane = first.lane
  if not turn(lane, first.ticket) then return false end
  local s = seatOf(first.ticket)
  local wish = wishOf(s)
  if supply(lane) < wish.count then return false end
  if not overQuota(wish.client, wish.count) then return hand(s) end
  drop(s)
  wake(s)
  queue.budget = queue.budget - 1
  return true
end

-- A heap of the first tickets of lines, the one that has waited longest on top.

local function add(heap, first)
  local at = #heap + 1
  while at > 1 and heap[floor(at / 2)].number > first.number do
    heap[at] = heap[floor(at / 2)]
    at = floor(at / 2)
  end
  heap[at] = first
end

local function takeTop(heap)
  local top, last, size, at = heap[1], heap[#heap], #heap - 1, 1
  heap[#heap] = nil
  while 2 * at <= size do
    local child = 2 * at
    if child < size and heap[child + 1].number < heap[child].number then child = child + 1 end
    if heap[child].number > last.number then break end
    heap[at] = heap[child]
    at = child
  end
  if size > 0 then heap[at] = last end
  return top
end

-- Serves these lines while one of them can be, each time the one that has waited longest. A line that cannot be served
-- has no other chance: the lines only use up what there is. Returns true if it stopped because tokens that were kept
-- back may suit other lines now. Where kept is set, those are among the lanes.
local function serve(lanes, kept)
  local heads = {}
  local function addFirst(lane)
    local first = head(lane)
    if first then add(heads, first) end
  end
  for lane in pairs(lanes) do addFirst(lane) end
  while heads[1] and queue.budget > 0 do
    local first = takeTop(heads)
    if serveFirst(first) then
      if queue.kept and not kept then return true end
      addFirst(first.lane)
    end
  end
end

-- Returns some available tokens.
local function firstAvailable()
  local records = {}
  local tokens = call('ZRANGEBYSCORE', keys[2], now - policy.clock, '+inf', 'LIMIT', '0', STEP)
  for i, token in ipairs(tokens) do records[i] = record(token, AVAILABLE, 0) end
  describe(records)
  return records
end

-- Gives what the step has made available, and what was kept back for tickets that have left, to those who wait.
function handOut()
  local owes = queue.owes
  while #queue.freed > 0 or queue.kept do
    local freed, kept, lanes = queue.freed, queue.kept, {[''] = true}
    queue.freed, queue.kept, owes = {}, false, false
    if policy.paused or howManyWait() == 0 then break end
    for _, list in ipairs(policy.labelled and {freed, kept and firstAvailable() or {}} or {}) do
      for _, r in ipairs(list) do
        for _, lane in ipairs(lanesOf(r)) do lanes[lane] = true end
      end
    end
    if serve(lanes, kept) then queue.freed = freed else queue.kept = false end
    owes = queue.crowded or queue.budget <= 0
  end
  if owes ~= queue.owes then
    call('HSET', keys[1], 'queue', owes and '2' or '1')
    queue.owes = owes
  end
  if queue.left and call('EXISTS', some('tickets')) == 0 then
    call('HDEL', keys[1], 'queue')
    queue.open = false
  end
  queue.left = false
end

-- Hands what is due to come back to those who wait before the step proper begins, so that it meets no token that is
-- owed to one of them.
local function catchUp()
  if not queue then return end
  comeBack(STEP)
  head('') -- drops void tickets
  handOut()
end

-- Begins a step on a pool that is in order. Returns false if there is no such pool.
local function start(k, instant)
  if not open(k, instant) then return false end
  catchUp()
  return true
end

-- tms1_leave takes tickets out of the queue, and hands what they had been handed to those who wait.
-- ARGV: now, the tickets. At most 1,000.
-- Answer: {now}.
local function leaveQueue(k, args)
  if not start(k, args[1]) then return NO_POOL end
  if queue then
    local tickets = {unpack(args, 2)}
    seatAll(tickets)
    for _, ticket in ipairs(tickets) do
      if queue.seats[ticket] then dismiss(queue.seats[ticket]) end
    end
  end
  return {now}
end

register('leave', leaveQueue)
