-- What changed since a version.
-- KEYS  1 version  2 changes  3 waits      ARGV  1 the version the replica has  2 how many entries at most
-- Returns {version reached, waits, 'delta' | 'all', kind, name, kind, name …}; 'all': read everything anew
local have, version = tonumber(ARGV[1]), tonumber(redis.call('GET', KEYS[1]) or 0)
local waits_now = redis.call('GET', KEYS[3]) or '0'
if have == version then return { version, waits_now, 'delta' } end
local first = redis.call('XRANGE', KEYS[2], '-', '+', 'COUNT', 1)[1]
if have > version or not first or tonumber(string.match(first[1], '^%d+')) > have + 1 then
    return { version, waits_now, 'all' }
end
local reply, reached = { version, waits_now, 'delta' }, version
local entries = redis.call('XRANGE', KEYS[2], (have + 1) .. '-0', '+', 'COUNT', ARGV[2])
for _, entry in ipairs(entries) do
    reached = tonumber(string.match(entry[1], '^%d+'))
    reply[#reply + 1] = entry[2][1]
    reply[#reply + 1] = entry[2][2]
end
reply[1] = reached
return reply
