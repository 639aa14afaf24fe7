-- State events of prompts, each put at the end of its prompt's stream.
-- KEYS  1.. the streams, one for each prompt
-- ARGV  1 how many events of a prompt are kept  2 for how many seconds  3.. pairs: which of KEYS, the event as JSON
-- Returns the place of each
local places = {}
for at = 3, #ARGV, 2 do
    local key = KEYS[tonumber(ARGV[at])]
    places[#places + 1] = redis.call('XADD', key, 'MAXLEN', '~', ARGV[1], '*', 'e', ARGV[at + 1])
end
for _, key in ipairs(KEYS) do redis.call('EXPIRE', key, ARGV[2]) end
return places
