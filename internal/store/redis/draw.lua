-- tms1_draw draws units from a bucket of a rate limit, which internal/limit describes.
-- KEYS: 1 bucket: string: the instant at which it is full, us of this process' clock, with a TTL until then
-- ARGV: the time in which a unit comes (us), the burst, how many units are drawn at least, at most
-- Answer: {units that were drawn, units that are left, us until there are so many as were asked for at least, 0 where
-- they were drawn, us until the bucket is full}.
local function draw(k, args)
  local t = call('TIME')
  local at = t[1] * 1000000 + t[2]
  local interval, least = tonumber(args[1]), tonumber(args[3])
  local window = interval * args[2]
  local stored = tonumber(call('GET', k[1]) or 0)
  -- a bucket that was drawn from at another rate, or before the clock was set back, owes no more than it can hold
  local full = max(at, min(stored, at + window))
  local room = at + window - full
  local there = floor(room / interval + 1e-6)
  local units = there >= least and min(there, tonumber(args[4])) or 0
  full = full + units * interval
  if units > 0 or full < stored then
    call('SET', k[1], format('%.3f', full), 'PX', math.ceil((full - at) / 1000) + 1)
  end
  return {units, there - units, units > 0 and 0 or math.ceil(least * interval - room), math.ceil(full - at)}
end

register('draw', draw)
