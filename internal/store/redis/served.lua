-- Served time, by which the clocks of the pools run: it counts only the time in which this process served. So nobody
-- loses a lease or a token to an outage, a paused machine, a restart, or a clock that is set. internal/rules/served.go
-- says the same in Go.
--
-- A move counts for no more than this process's clock says, no more than the calling server's own clock says has passed
-- since its last call, and no more than MOVE. A move back does not count. Both clocks are lines that run beside served
-- time. A call that is late lets its server's line lag for a moment, which the next punctual one makes good; so this
-- process's clock may be ahead by AHEAD. A server's line is never ahead of served time after a call of it, and behind
-- by LATE at most. What is made good may be the end of a lease that was granted a moment before: leases last LAG longer
-- than their holders are told.

local MOVE = 1500 -- every server calls once a second
local AHEAD, LATE, LAG = 500, 1000, 25
local HEARD = 1000 -- most servers that are known

local served, began = 0, nil -- served time of this process, and what its clock said when that would have been 0
local heard, hearing = {}, 0 -- server -> what served time was when its own clock would have been 0

-- What the present call says: the instant, if it brings its own; that no answer can be lost; in wait, for how long an
-- old master may still be asked; and in modern, that it knows of pools with clocks of their own.
local brought, lossless

local LOOK = 50
local looked, reign -- when this process last looked whether it is the master still, and master_replid then

-- Finds out whether another process has been the master since this one last looked, and forgets all pools then: a
-- master that comes back by a partial resynchronisation still has its memory, which may be ahead of its data. It looks
-- again after LOOK, or at once where no instant is given.
function watch(instant)
  if looked and instant and instant >= looked and instant - looked < LOOK then return end
  looked = instant or looked
  local _, replid = identity()
  if reign and reign ~= replid then memories, count = {}, 0 end
  reign = replid
end

local SAME = 5000 -- several servers say of one failover that they come from another master
local reigns, crowned = 0, nil -- how often they have said so, and when

-- Returns what tells the reigns of this process apart.
function reigned() return reigns > 0 and '.' .. reigns or '' end

-- Begins another reign of this master: it was given up and came back, though it has heard of neither. What another one
-- did meanwhile is lost.
function reignAgain()
  local instant = clock()
  if crowned and instant - crowned < SAME and instant >= crowned then return end
  reigns, crowned = reigns + 1, instant
  memories, count = {}, 0
end

local function within(least, n, most) return max(least, min(n, most)) end

local called -- what this process's clock said at the last call

-- How far served time may lag at a call of some server, since that server was new when nobody had called for a while:
-- its line begins where served time stood, and another server's next call moves that on. Leases last so much longer.
-- What this process's clock says of that while is no reason to move served time, for it may have been set.
local behind = 0

-- Heeds a server that is new.
local function welcome(instant)
  if hearing == HEARD then heard, hearing = {}, 0 end
  hearing = hearing + 1
  if not called then return end
  local idle = instant - called
  if idle < 0 or idle > MOVE then idle = MOVE end
  behind = min(MOVE, behind + idle)
end

-- Moves served time on to the present call of a server.
local function serve(server, reading)
  local instant = clock()
  watch(instant)
  began = began or instant - served
  local to, line = min(instant - began, served + MOVE), nil
  if server then
    if not heard[server] then welcome(instant) end
    line = heard[server] and heard[server] + reading or served
    to = min(to, line)
  end
  served, called = max(served, to), instant
  began = instant - within(served, instant - began, served + AHEAD)
  if not server then return end
  heard[server] = within(served - LATE, line, served) - reading
end

local sayings, saying = {}, 0 -- what servers say in every call, read, by its text

-- Reads what a server says in every call.
local function introduce(text)
  if saying == HEARD then sayings, saying = {}, 0 end
  local kind, server, w, sure, database = match(text, '^ (%a) (%S+) (%d+) (%d)(.*)$')
  local said = {brings = kind == 'i', server = server, wait = tonumber(w), lossless = sure == '1', database = database}
  if not said.brings then said.wait = said.wait + LAG end
  sayings[text], saying = said, saying + 1
  return said
end

-- Reads ARGV[1] of a server of version 1.
local function hearOld(when)
  local instant, database = match(when, '^([^@]*)(.*)$')
  modern, brought, wait, lossless = false, tonumber(instant), 0, false
  if not brought then
    serve()
    wait = LAG + behind
  end
  return database
end

-- Reads ARGV[1]. Returns the mark of the database.
function hear(when)
  local at = strfind(when, ' ', 1, true)
  if not at then return hearOld(when) end
  local text = sub(when, at)
  local said, number = sayings[text] or introduce(text), tonumber(sub(when, 1, at - 1))
  modern, wait, lossless, brought = true, said.wait, said.lossless, said.brings and number
  if brought then return said.database end
  serve(said.server, number)
  wait = wait + behind
  return said.database
end

-- Returns where the clock stands that this pool's runs beside.
local function base() return brought or served end
