-- The keys that servers ask callers for.

-- KEYS: 1 keys: hash: ID → the key, JSON; "ID:used" → when it was last used, ms of that server's clock.

-- Returns the IDs and the keys in turn, and by ID when they were used.
local function storedKeys(k)
  local fields, list, used = call('HGETALL', k[1]), {}, {}
  for i = 1, #fields, 2 do
    local id = match(fields[i], '^(%w+):used$')
    if id then
      used[id] = fields[i + 1]
    else
      list[#list + 1] = fields[i]
      list[#list + 1] = fields[i + 1]
    end
  end
  return list, used
end

-- tms1_put_key keeps a key.
-- ARGV: ID, the key, how many there may be at most, its hash.
-- Answer: "", "key_exists" or "too_many_keys".
local function put_key(k, args)
  local there = call('HGET', k[1], args[1])
  if there then return cjson.decode(there).hash == args[4] and '' or 'key_exists' end
  if #storedKeys(k) / 2 >= tonumber(args[3]) then return 'too_many_keys' end
  call('HSET', k[1], args[1], args[2])
  return ''
end

-- tms1_delete_key deletes the keys of a name, or of these one.
-- ARGV: name, ID or "".
-- Answer: how many there were.
local function delete_key(k, args)
  local list, deleted = storedKeys(k), 0
  for i = 1, #list, 2 do
    local id = list[i]
    if cjson.decode(list[i + 1]).name == args[1] and (args[2] == '' or args[2] == id) then
      call('HDEL', k[1], id, id .. ':used')
      deleted = deleted + 1
    end
  end
  return deleted
end

-- tms1_keys returns all keys.
-- ARGV: of those that were used, the ID and when, in turn.
-- Answer: of each key, JSON and when it was last used, 0 if never.
local function stored_keys(k, args)
  local list, used = storedKeys(k)
  local known, answer = {}, {}
  for i = 1, #list, 2 do known[list[i]] = true end
  for i = 1, #args, 2 do
    local id, at = args[i], tonumber(args[i + 1])
    if known[id] and at > tonumber(used[id] or 0) then
      used[id] = args[i + 1]
      call('HSET', k[1], id .. ':used', args[i + 1])
    end
  end
  for i = 1, #list, 2 do
    answer[i], answer[i + 1] = list[i + 1], tonumber(used[list[i]] or 0)
  end
  return answer
end

register('put_key', put_key, {})
register('delete_key', delete_key)
register('keys', stored_keys)
