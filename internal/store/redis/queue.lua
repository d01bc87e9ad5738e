-- The queue: who waits, whose turn it is, and what they are handed.

-- What a step knows of the queue. seats: what it has read of tickets, false for one that is not there. heads: the
-- first ticket of a line, false for none. supplies: how many tokens of a lane can be assigned. freed: the tokens that
-- the step has made available. kept: a ticket has left that tokens were kept back for. tidied: those whose time is over
-- were looked for. crowded: there are more than one step may age, or move, so that nobody's turn is known. measured: those
-- who want more than the pool holds stand beside the line. budget: how many tokens the step may still hand. waiting: how
-- many wait. open: the pool has tickets. left: some have left. owes: a step before this one could not hand out all that
-- it made available. lines: see keptLines.
function newQueue(open)
  return {seats = {}, heads = {}, supplies = {}, freed = {}, kept = false, tidied = false, crowded = false,
    measured = false, budget = share, open = open, waiting = nil, left = false, owes = false, lines = nil}
end

-- A wish is what a request or a ticket asks for: client, ttl, count, lane, prefer, ids; of a ticket also its number, and
-- the tokens that it was handed.

-- A seat is a ticket as this step sees it: place says in which set it stands, till its score there.
local function seat(ticket, text)
  local print, inbox, json = match(text, '^(%S+) (%S+) (.*)$')
  return {ticket = ticket, print = print, inbox = inbox, json = json, place = nil, till = 0, wish = nil}
end

-- Finds out where those of the seats stand that are not known to stand elsewhere.
local function locate(place, seats)
  local tickets, left = {}, {}
  for i, s in ipairs(seats) do tickets[i] = s.ticket end
  for i, till in ipairs(#tickets > 0 and call('ZMSCORE', some(place), unpack(tickets)) or {}) do
    if till then seats[i].place, seats[i].till = place, tonumber(till) else left[#left + 1] = seats[i] end
  end
  return left
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
  local texts, seats = call('HMGET', some('tickets'), unpack(unread)), {}
  for i, ticket in ipairs(unread) do
    if texts[i] then
      queue.seats[ticket] = seat(ticket, texts[i])
      seats[#seats + 1] = queue.seats[ticket]
    end
  end
  locate('absent', locate('handed', locate('waiting', seats)))
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

-- Says whether the wish is for several tokens of any kind: for those others are kept waiting.
local function several(wish) return wish.lane == '' and wish.count > 1 end

-- Takes the ticket out of the set in which it stands, and out of its line. One who waited for several and waits no longer
-- may have had some kept back.
local function leavePlace(s)
  local wish = wishOf(s)
  if s.place == 'waiting' then
    howManyWait()
    queue.waiting, queue.heads[wish.lane] = queue.waiting - 1, nil
    call('ZREM', some('line:' .. wish.lane), s.ticket)
    if several(wish) then
      queue.kept = true
      call('ZREM', some('several'), s.ticket)
      call('ZREM', some('beyond'), s.ticket)
    end
  end
  if s.place then call('ZREM', some(s.place), s.ticket) end
  s.place = nil
end

-- Puts the ticket into its line, unless it stands there, and lets it wait until an instant.
local function show(s, till)
  local wish = wishOf(s)
  if s.place ~= 'waiting' then
    if s.place then call('ZREM', some(s.place), s.ticket) end
    queue.waiting, queue.heads[wish.lane] = howManyWait() + 1, nil
    call('ZADD', some('line:' .. wish.lane), wish.number, s.ticket)
    if several(wish) then
      queue.measured = false
      call('ZADD', some('several'), wish.count, s.ticket)
    end
    if queue.lines then queue.lines[wish.lane] = true end
  end
  s.place, s.till = 'waiting', till
  call('ZADD', some('waiting'), digits(till), s.ticket)
end

-- Takes the ticket out of the queue.
local function drop(s)
  leavePlace(s)
  call('HDEL', some('tickets'), s.ticket)
  queue.seats[s.ticket], queue.left = false, true
end

-- Says whether the token is still on its way to the ticket, as the wish's nth. Of one that was not picked up in time,
-- Redis may have removed the lease string.
local function underway(s, wish, n, r)
  if r.was ~= ASSIGNED then return false end
  return r.at == '0' and r.id == wish.ids[n] or r.id == '-' and s.till < now and r.score == s.till
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

-- Makes the ticket absent: it keeps its place until an instant, if that is not over, and is handed nothing.
local function excuse(s, till)
  if till < now then return drop(s) end
  leavePlace(s)
  if s.wish.tokens then
    s.wish.tokens = nil
    s.json = cjson.encode(s.wish)
    writeSeat(s)
  end
  s.place, s.till = 'absent', till
  call('ZADD', some('absent'), digits(till), s.ticket)
end

-- Makes the ticket absent until an instant, or takes it out of the queue where none is given. What it was handed comes
-- back, as if it had never been handed. Returns how many tokens that were.
local function dismiss(s, till)
  local records = offered(s)
  if till then excuse(s, till) else drop(s) end
  for _, r in ipairs(records) do r.state = AVAILABLE end
  if #records > 0 then save(records) end
  return #records
end

-- Returns the seats of at most limit tickets of a set whose time is over.
local function over(set, limit)
  local tickets = call('ZRANGEBYSCORE', some(set), '-inf', '(' .. digits(now), 'LIMIT', '0', limit)
  seatAll(tickets)
  local seats = {}
  for i, ticket in ipairs(tickets) do seats[i] = queue.seats[ticket] end
  return seats
end

-- Returns until when a ticket keeps its place that was present until an instant.
local function keptAfter(present) return present + TICKET - PRESENCE end

-- Takes back at most about limit tokens that nobody has picked up in time. Returns how many.
function lapse(limit)
  local done = 0
  for _, s in ipairs(over('handed', limit)) do
    if done >= limit then break end
    done = done + max(1, dismiss(s, keptAfter(s.till)))
  end
  return done
end

-- Lets at most limit tickets age that are present no longer, and as many that are absent. Returns how many of the
-- former.
local function tidy(limit)
  for _, s in ipairs(over('absent', limit)) do drop(s) end
  local seats = over('waiting', limit)
  for _, s in ipairs(seats) do excuse(s, keptAfter(s.till)) end
  return #seats
end

-- Returns the first ticket of a line, its number and its lane, or false.
local function head(lane)
  if not queue.open then return false end
  if not queue.tidied then
    queue.tidied = true
    queue.crowded = tidy(share) == share
  end
  local first = queue.heads[lane]
  if first == nil then
    local found = call('ZRANGE', some('line:' .. lane), '0', '0', 'WITHSCORES')
    first = found[1] and {ticket = found[1], number = tonumber(found[2]), lane = lane} or false
    queue.heads[lane] = first
  end
  return first
end

-- Says whether the ticket of that number, or a request without one, may be served before everybody else who waits in its
-- line. Whoever waits for any token is owed every token: they wait only because they want more than there are.
local function turn(lane, number)
  local first, any = head(lane), head('')
  if queue.crowded then return false end
  if not number then return not first and not any end
  return (not first or number <= first.number) and (not any or number <= any.number)
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

-- Returns how many tokens the pool has that can be had sooner or later.
local function holds()
  local dead = policy.clock < huge and call('ZCOUNT', set(SEEN), '-inf', '(' .. digits(now - policy.clock)) or 0
  return supply('') + call('ZCARD', set(ASSIGNED)) + call('ZCARD', set(COOLING)) - dead
end

-- Moves the tickets of a set whose counts lie in a range, as many as a step may move.
local function shift(from, to, least, most)
  local tickets = call('ZRANGEBYSCORE', some(from), least, most, 'LIMIT', '0', STEP)
  seatAll(tickets)
  for _, ticket in ipairs(tickets) do
    local wish = wishOf(queue.seats[ticket])
    call('ZREM', some(from), ticket)
    call('ZADD', some(to), wish.count, ticket)
    if to == 'several' then
      call('ZADD', some('line:'), wish.number, ticket)
    else
      call('ZREM', some('line:'), ticket)
    end
  end
  if #tickets == 0 then return end
  queue.kept, queue.heads[''] = true, nil
  if #tickets == STEP then queue.crowded = true end
end

-- Lets those who want more tokens than the pool holds stand beside the line, where they wait in their places and nobody
-- waits for them, until it holds enough.
local function reach()
  if queue.measured or not queue.open then return end
  queue.measured = true
  local most = call('ZREVRANGE', some('several'), '0', '0', 'WITHSCORES')[2]
  local least = call('ZRANGE', some('beyond'), '0', '0', 'WITHSCORES')[2]
  if not most and not least then return end
  local n = holds()
  if most and tonumber(most) > n then shift('several', 'beyond', '(' .. digits(n), '+inf') end
  if least and tonumber(least) <= n then shift('beyond', 'several', '-inf', digits(n)) end
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
  leavePlace(s)
  wish.tokens = {}
  for i, r in ipairs(records) do wish.tokens[i] = r.token end
  s.json, s.place, s.till = cjson.encode(wish), 'handed', now + PICKUP
  call('ZADD', some('handed'), digits(s.till), s.ticket)
  writeSeat(s)
  wake(s)
  queue.budget = queue.budget - #records
  return true
end

-- Serves the first ticket of a line, if it is its turn and there are enough tokens. One whose client has come to hold
-- as many leases as it may is taken out, and woken. Returns false if nothing came of it.
local function serveFirst(first)
  local lane = first.lane
  if not turn(lane, first.number) then return false end
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

-- Notes the lanes that the tokens suit.
local function noteLanes(lanes, records)
  for _, r in ipairs(records) do
    for _, lane in ipairs(lanesOf(r)) do lanes[lane] = true end
  end
end

-- Returns the lines that tokens suit which may have been kept back: those of the first tokens that were available when
-- the step first asked, and of all that it made available since. No more can have been kept back, as nobody waits for
-- more. They are read once: a step that lets hundreds go would read them hundreds of times.
local function keptLines()
  if queue.lines then return queue.lines end
  local records, lanes = {}, {}
  local tokens = call('ZRANGEBYSCORE', keys[2], now - policy.clock, '+inf', 'LIMIT', '0', STEP)
  for i, token in ipairs(tokens) do records[i] = record(token, AVAILABLE, 0) end
  describe(records)
  noteLanes(lanes, records)
  queue.lines = {}
  for lane in pairs(lanes) do
    if head(lane) then queue.lines[lane] = true end
  end
  return queue.lines
end

-- Gives what the step has made available, and what was kept back for tickets that have left, to those who wait.
function handOut()
  reach()
  local owes = queue.owes
  while #queue.freed > 0 or queue.kept do
    local freed, kept, lanes = queue.freed, queue.kept, {[''] = true}
    queue.freed, queue.kept, owes = {}, false, false
    if policy.paused or howManyWait() == 0 then break end
    if policy.labelled then noteLanes(lanes, freed) end
    if queue.lines then noteLanes(queue.lines, freed) end
    for lane in pairs(policy.labelled and kept and keptLines() or {}) do lanes[lane] = true end
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
  comeBack(share)
  head('') -- lets tickets age
  handOut()
end

-- Begins a step on a pool that is in order. Returns false if there is no such pool.
local function start(k, instant)
  if not open(k, instant) then return false end
  catchUp()
  return true
end

-- tms1_leave takes tickets out of the queue, or makes them absent, and hands what they had been handed to those who wait.
-- ARGV: now, "1" to keep their places or "", the tickets. At most 1,000.
-- Answer: {now}.
local function leaveQueue(k, args)
  if not start(k, args[1]) then return NO_POOL end
  if queue then
    local tickets, till = {unpack(args, 3)}, args[2] ~= '' and now + TICKET
    seatAll(tickets)
    for _, ticket in ipairs(tickets) do
      if queue.seats[ticket] then dismiss(queue.seats[ticket], till) end
    end
  end
  return {now}
end

register('leave', leaveQueue)
