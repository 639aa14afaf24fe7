-- Forget a name that was not used of late.
-- KEYS  1 version  2 changes  3 inputs  4 used  5 blobs      ARGV  1 name  2 ms that it must not have been used
-- Returns {} when it stays, {''} when its blob has other names, else {blob}
local used = redis.call('ZSCORE', KEYS[4], ARGV[1])
local found = redis.call('HGET', KEYS[3], ARGV[1])
if not found or (used and tonumber(used) > now_ms() - tonumber(ARGV[2])) then return {} end
redis.call('HDEL', KEYS[3], ARGV[1])
redis.call('ZREM', KEYS[4], ARGV[1])
changed(KEYS[1], KEYS[2], 'f', ARGV[1])
return { one_name_less(KEYS[5], cjson.decode(found).digest) or '' }
