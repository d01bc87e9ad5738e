-- What a server asks about Redis rather than about a pool: without an instant, and most without KEYS and ARGV.

-- tms1_version answers the version of this library.
local function version() return VERSION end

-- tms1_fit does nothing. It is declared as one that writes and takes space, so that Redis refuses it when it would
-- refuse a new lease.
local function fit() return 1 end

-- tms1_beat moves served time on, and finds out whether another process has been the master since the last one.
-- ARGV: now, "1" if the server comes from another master, or this one was not confirmed to it for a while.
-- Answer: {whose the memory of this process is, master_replid}.
local function beat(_, args)
  hear(args[1])
  watch()
  if args[2] == '1' then reignAgain() end
  local _, replid = identity()
  return {life, replid}
end

-- tms1_process answers which process this is, and in which reign.
-- KEYS: one of a pool, which leads the call to its node.
local function process()
  local run, replid = identity()
  return run .. ' ' .. replid
end

register('process', process, {'no-writes', 'allow-stale'})
register('beat', beat, {'no-writes', 'allow-stale'})
register('version', version, {'no-writes', 'allow-stale'})
register('fit', fit, {})
