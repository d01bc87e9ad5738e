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

local function within(least, n, most) return max(least, min(n, most)) end

-- Moves served time on to the present call of a server.
local function serve(server, reading)
  local instant = clock()
  began = began or instant - served
  local to, line = min(instant - began, served + MOVE), nil
  if server then
    line = (heard[server] or served - reading) + reading
    to = min(to, line)
  end
  served = max(served, to)
  began = instant - within(served, instant - began, served + AHEAD)
  if not server then return end
  if not heard[server] then
    if hearing == HEARD then heard, hearing = {}, 0 end
    hearing = hearing + 1
  end
  heard[server] = within(served - LATE, line, served) - reading
end

-- Reads ARGV[1]. Returns the mark of the database.
function hear(when)
  local instant, server, reading, w, sure, database = match(when, '^(%S+) (%S+) (%d+) (%d+) (%d)(.*)$')
  modern = instant ~= nil
  if not modern then
    instant, database = match(when, '^([^@]*)(.*)$')
    brought, wait, lossless = tonumber(instant), 0, false
  else
    brought, wait, lossless = tonumber(instant), tonumber(w), sure == '1'
  end
  if not brought then
    wait = wait + LAG
    serve(server, tonumber(reading))
  end
  return database
end

-- Returns where the clock stands that this pool's runs beside.
local function base() return brought or served end
