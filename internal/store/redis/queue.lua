-- The queue: who waits, whose turn it is, and what they are handed.

-- Returns the first ticket of a line, its number and its lane, or false.
function head(lane)
  if not queue.open then return false end
  if not queue.tidied then
    queue.tidied = true
    queue.crowded = tidy(share) == share
  end
  local first = queue.heads[lane]
  if first == nil then
    local found = call('ZRANGE', some('line:' .. lane), '0', '0', 'WITHSCORES')
    first = found[1] and {id = found[1], number = tonumber(found[2]), lane = lane} or false
    queue.heads[lane] = first
  end
  return first
end

-- Reports whether the ticket of that number, or a request without one, may be served before everybody else who waits in
-- its line. Whoever waits for any token is owed every token: they wait only because they want more than there are.
function turn(lane, number)
  local first, any = head(lane), head('')
  if queue.crowded then return false end
  if not number then return not first and not any end
  return (not first or number <= first.number) and (not any or number <= any.number)
end

-- Returns how many tokens of a lane can be assigned.
function supply(lane)
  local n = queue.supplies[lane]
  if not n then
    n = call('ZCOUNT', laneKey(lane), givable(), '+inf')
    queue.supplies[lane] = n
  end
  return n
end

-- Returns how many tokens the pool has that can be had sooner or later.
local function holds()
  local dead = oldest() > -huge and call('ZCOUNT', set(SEEN), '-inf', '(' .. digits(oldest())) or 0
  local available = settling() and call('ZCARD', set(AVAILABLE)) or supply('')
  return available + call('ZCARD', set(ASSIGNED)) + call('ZCARD', set(COOLING)) - dead
end

-- Moves the tickets of a set whose counts lie in a range, as many as a step may move.
local function shift(from, to, least, most)
  local ids = call('ZRANGEBYSCORE', some(from), least, most, 'LIMIT', '0', STEP)
  readTickets(ids)
  for _, id in ipairs(ids) do
    local request = requestOf(queue.tickets[id])
    call('ZREM', some(from), id)
    call('ZADD', some(to), request.count, id)
    if to == 'several' then
      call('ZADD', some('line:'), request.number, id)
    else
      call('ZREM', some('line:'), id)
    end
  end
  if #ids == 0 then return end
  queue.kept, queue.heads[''] = true, nil
  if #ids == STEP then queue.crowded = true end
end

-- Lets those who want more tokens than the pool holds stand beside the line, where they wait in their places and nobody
-- waits for them, until it holds enough.
function reach()
  if queue.measured or not queue.open then return end
  queue.measured = true
  local most = call('ZREVRANGE', some('several'), '0', '0', 'WITHSCORES')[2]
  local least = call('ZRANGE', some('beyond'), '0', '0', 'WITHSCORES')[2]
  if not most and not least then return end
  local n = holds()
  if most and tonumber(most) > n then shift('several', 'beyond', '(' .. digits(n), '+inf') end
  if least and tonumber(least) <= n then shift('beyond', 'several', '-inf', digits(n)) end
end

-- Returns as many tokens as the request asks for, which must be there: the one that it prefers, if it is among them,
-- and those that the selection takes.
local function choose(request)
  local key, chosen = laneKey(request.lane), {}
  if request.prefer ~= '' then
    local seen = call('ZSCORE', key, request.prefer)
    if seen and tonumber(seen) >= givable() then chosen[1] = request.prefer end
  end
  if #chosen == request.count then return chosen end
  for _, token in ipairs(candidates(key, request.count)) do
    if #chosen < request.count and token ~= chosen[1] then chosen[#chosen + 1] = token end
  end
  return chosen
end

-- Locks the tokens for the request, or none. Returns their records, or nil and a token whose lock is held.
local function lock(request, tokens, pickup)
  local fence = issue(#tokens)
  local seen, ttl, records = pickup and call('ZMSCORE', keys[2], unpack(tokens)), leaseTime(request.ttl), {}
  for i, token in ipairs(tokens) do
    local r = record(token, AVAILABLE, 0)
    r.state, r.seen, r.till = ASSIGNED, pickup and seen[i] or now, pickup or now + ttl
    r.client = request.client
    local begin = request.ids[i] .. ' ' .. digits(fence + i) .. ' ' .. (pickup and '0' or digits(now))
    r.text = leaseText(begin, r.seen, ttl, request.client, r.till)
    if not call('SET', keys[7] .. token, r.text, 'NX', 'PX', digits(backstop(r.till))) then
      for _, locked in ipairs(records) do call('DEL', keys[7] .. locked.token) end
      return nil, token
    end
    records[i] = r
  end
  return records
end

-- Gives the request its tokens, to be picked up until an instant if that is given. Returns their records, or nil if
-- there are too few.
function give(request, pickup)
  while supply(request.lane) >= request.count do
    local records, locked = lock(request, choose(request), pickup)
    if records then
      describe(records)
      save(records)
      return records
    end
    park(locked)
  end
end

-- Wakes a ticket. A user whom Redis lets publish nothing goes on: who waits looks again in any case.
local function wake(ticket) try('SPUBLISH', some('wake:' .. ticket.inbox), ticket.id) end

-- Hands the ticket its tokens. Returns false if there are too few.
local function hand(ticket)
  local request = requestOf(ticket)
  local records = give(request, now + PICKUP)
  if not records then return false end
  leavePlace(ticket)
  request.offer = {}
  for i, r in ipairs(records) do request.offer[i] = r.token end
  ticket.json, ticket.place, ticket.till = cjson.encode(request), 'handed', now + PICKUP
  call('ZADD', some('handed'), digits(ticket.till), ticket.id)
  writeTicket(ticket)
  wake(ticket)
  queue.budget = queue.budget - #records
  return true
end

-- Serves the first ticket of a line, if it is its turn and there are enough tokens. One whose client has come to hold
-- as many leases as it may is taken out, and woken. Returns false if nothing came of it.
local function serve(first)
  local lane = first.lane
  if not turn(lane, first.number) then return false end
  local ticket = ticketOf(first.id)
  local request = requestOf(ticket)
  if supply(lane) < request.count then return false end
  if not quota(request.client, request.count) then return hand(ticket) end
  dismiss(ticket)
  wake(ticket)
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
function serveAll(lanes, kept)
  local heads = {}
  local function addFirst(lane)
    local first = head(lane)
    if first then add(heads, first) end
  end
  for lane in pairs(lanes) do addFirst(lane) end
  while heads[1] and queue.budget > 0 do
    local first = takeTop(heads)
    if serve(first) then
      if queue.kept and not kept then return true end
      addFirst(first.lane)
    end
  end
end

-- Notes the lanes that the tokens suit.
local function noteLanes(lanes, records)
  for _, r in ipairs(records) do
    for _, lane in ipairs(lanesOf(r)) do lanes[lane] = true end
  end
end

-- Returns the lines that tokens suit which may have been kept back: those of the first tokens that were available when
-- the step first asked, and of all that it made available since. No more can have been kept back, as nobody waits for
-- more. They are read once: a step that lets hundreds go would read them hundreds of times.
local function keptLanes()
  if queue.lines then return queue.lines end
  local records, lanes = {}, {}
  local tokens = call('ZRANGEBYSCORE', keys[2], givable(), '+inf', 'LIMIT', '0', STEP)
  for i, token in ipairs(tokens) do records[i] = record(token, AVAILABLE, 0) end
  describe(records)
  noteLanes(lanes, records)
  queue.lines = {}
  for lane in pairs(lanes) do
    if head(lane) then queue.lines[lane] = true end
  end
  return queue.lines
end

-- Gives what the step has made available, and what was kept back for tickets that have left, to waiters. Those whose
-- time is over leave before that, so that what was kept back for them is known.
function handOff()
  head('')
  reach()
  local owes = queue.owes
  while #queue.freed > 0 or queue.kept do
    local freed, kept, lanes = queue.freed, queue.kept, {[''] = true}
    queue.freed, queue.kept, owes = {}, false, false
    if policy.paused or howManyWait() == 0 then break end
    if policy.labelled then noteLanes(lanes, freed) end
    if queue.lines then noteLanes(queue.lines, freed) end
    for lane in pairs(policy.labelled and kept and keptLanes() or {}) do lanes[lane] = true end
    if serveAll(lanes, kept) then queue.freed = freed else queue.kept = false end
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

-- Hands what is due to come back to waiters before the step proper begins, so that it meets no token that is
-- owed to one of them.
function catchUp()
  if not queue then return end
  comeBack(share)
end

-- Begins a step on a pool that is in order. Returns false if there is no such pool.
function start(k, instant)
  if not open(k, instant) then return false end
  catchUp()
  return true
end

-- tms1_leave takes tickets out of the queue, or makes them absent, and hands what they had been handed to those who
-- wait.
-- ARGV: now, "1" to keep their places or "", the tickets. At most 1,000.
-- Answer: {now}.
local function leaveQueue(k, args)
  if not start(k, args[1]) then return NO_POOL end
  if queue then
    local ids, till = {unpack(args, 3)}, args[2] ~= '' and now + TICKET
    readTickets(ids)
    for _, id in ipairs(ids) do
      if queue.tickets[id] then leave(queue.tickets[id], till) end
    end
  end
  return {stamp()}
end

register('leave', leaveQueue)
