-- What changed since a version, and the prompts among it as they are now.
-- KEYS  1 version  2 changes  3 waits
-- ARGV  1 the version the replica has  2 how many entries at most  3 prefix of job keys  4 how many prompts to bring along
--       at most  5.. the fields of a prompt
-- Returns {version reached, waits, 'delta' | 'all', {kind, name, kind, name …}, {prompt_id, {fields …} …}}; 'all': read
--         everything anew
local have, version = tonumber(ARGV[1]), tonumber(redis.call('GET', KEYS[1]) or 0)
local waits_now = redis.call('GET', KEYS[3]) or '0'
if have == version then return { version, waits_now, 'delta', {}, {} } end
local first = redis.call('XRANGE', KEYS[2], '-', '+', 'COUNT', 1)[1]
if have > version or not first or tonumber(string.match(first[1], '^%d+')) > have + 1 then
    return { version, waits_now, 'all', {}, {} }
end
local reached, names, jobs, read, room = version, {}, {}, {}, tonumber(ARGV[4])
local entries = redis.call('XRANGE', KEYS[2], (have + 1) .. '-0', '+', 'COUNT', ARGV[2])
for _, entry in ipairs(entries) do
    reached = tonumber(string.match(entry[1], '^%d+'))
    local kind, name = entry[2][1], entry[2][2]
    names[#names + 1] = kind
    names[#names + 1] = name
    if kind == 'j' and not read[name] and room > 0 then
        read[name], room = true, room - 1
        jobs[#jobs + 1] = name
        jobs[#jobs + 1] = redis.call('HMGET', ARGV[3] .. name, unpack(ARGV, 5))
    end
end
return { reached, waits_now, 'delta', names, jobs }
