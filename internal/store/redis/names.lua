-- The names of a pool's keys.

local NAMES = {'pool', 'available', 'assigned', 'cooling', 'quarantined', 'seen', 'lease:', 'token:', 'past', ''}
local named, naming = {}, 0 -- the keys of pools, by the first of them

-- Returns the names of a pool's keys.
function keysOf(pool)
  if named[pool] then return named[pool] end
  if naming == MEMORIES then named, naming = {}, 0 end
  local all, prefix = {}, sub(pool, 1, -1 - #NAMES[1])
  for i, name in ipairs(NAMES) do all[i] = prefix .. name end
  named[pool], naming = all, naming + 1
  return all
end
