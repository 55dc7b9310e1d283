-- wrk's report for machines. The argument "close" asks for a new connection each time.
function init(arguments)
  if arguments[1] == "close" then wrk.headers["Connection"] = "close" end
end

function done(summary, latency)
  local e = summary.errors
  io.write(string.format('\nJSON {"requests": %d, "bytes": %d, "seconds": %.6f, "p99": %.3f, ', summary.requests,
    summary.bytes, summary.duration / 1e6, latency:percentile(99) / 1e3))
  io.write(string.format('"errors": {"connect": %d, "read": %d, "write": %d, "status": %d, "timeout": %d}}\n', e.connect,
    e.read, e.write, e.status, e.timeout))
end
