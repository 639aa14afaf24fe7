-- Give an uploaded blob a name: the wanted one; one that has these bytes already; else the first that is free.
-- KEYS  1 version  2 changes  3 inputs  4 used  5 blobs
-- ARGV  1 name before ` (n)`  2 extension  3 digest  4 blob  5 size  6 digest to compare with  7 '1' to overwrite
-- Returns {n, name, blobs without a name …}
local digest, blob = ARGV[3], ARGV[4]
local name, n, old = ARGV[1] .. ARGV[2], 0, nil
while true do
    local found = redis.call('HGET', KEYS[3], name)
    old = found and cjson.decode(found)
    if not old or ARGV[7] == '1' or old.digest == ARGV[6] or old.put == blob then break end
    n = n + 1
    name = ARGV[1] .. ' (' .. n .. ')' .. ARGV[2]
end
local useless = {}
if old and old.put == blob then return { n, name } end -- asked again
redis.call('ZADD', KEYS[4], now_ms(), name)
if old and old.digest == ARGV[6] and ARGV[7] ~= '1' then return { n, name, blob } end
local known = redis.call('HGET', KEYS[5], digest)
local entry = known and cjson.decode(known) or { blob = blob, size = tonumber(ARGV[5]), names = 0 }
if entry.blob ~= blob then useless[#useless + 1] = blob end
if not known then redis.call('HINCRBY', KEYS[5], 'bytes', entry.size) end
entry.names = entry.names + 1
redis.call('HSET', KEYS[5], digest, cjson.encode(entry))
redis.call('HSET', KEYS[3], name, cjson.encode({
    blob = entry.blob, digest = digest, size = entry.size, at = now_ms() / 1000, put = blob,
}))
if old then
    local gone = one_name_less(KEYS[5], old.digest)
    if gone then useless[#useless + 1] = gone end
end
changed(KEYS[1], KEYS[2], 'f', name)
return { n, name, unpack(useless) }
