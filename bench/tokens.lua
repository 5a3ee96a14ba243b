-- Asks for /api/v4/user with a random one of the tokens in a file. Every request is a string before the first one is
-- sent, and answers are not looked at here, so that wrk does not become what is measured.

local requests = {}

function init(args)
  math.randomseed(tonumber(args[2]))
  for token in io.lines(args[1]) do
    requests[#requests + 1] = wrk.format("GET", "/api/v4/user", { ["PRIVATE-TOKEN"] = token })
  end
end

function request()
  return requests[math.random(#requests)]
end

function done(summary)
  local errors = summary.errors
  local broken = errors.connect + errors.read + errors.write + errors.timeout
  io.write(("bench %d %d %d %d\n"):format(summary.requests, summary.duration, errors.status, broken))
end
