-- One user per thread of wrk: logs in once, then looks who the shop says they are and changes the cart, on many
-- connections at once. Every answer is checked: a sign-out and an emptied cart have status 200.

local threads = {}

function setup(thread)
   thread:set("number", #threads + 1)
   table.insert(threads, thread)
end

function init(args)
   user = "wrk-" .. number
   cookie, asked, sent = nil, false, 0
   answers, failed, signed_out, carts_lost = 0, 0, 0, 0
end

function request()
   if not cookie then
      if asked then return wrk.format("GET", "/health") end
      asked = true
      local body = '{"name":"' .. user .. '","password":"coat-check"}'
      return wrk.format("POST", "/api/login", { ["Content-Type"] = "application/json", ["Idempotency-Key"] = user }, body)
   end
   sent = sent + 1
   if sent == 1 then
      return wrk.format("PUT", "/api/cart/espresso", { Cookie = cookie, ["Content-Type"] = "application/json" }, '{"quantity":7}')
   end
   if sent % 10 == 0 then
      return wrk.format("PUT", "/api/cart/mug", { Cookie = cookie, ["Content-Type"] = "application/json" }, '{"quantity":3}')
   end
   return wrk.format("GET", "/api/me", { Cookie = cookie })
end

function response(status, headers, body)
   answers = answers + 1
   if status ~= 200 then
      failed = failed + 1
      return
   end
   local ticket = headers["set-cookie"]
   if ticket then cookie = ticket:match("^[^;]+") end
   if body:find('"user"', 1, true) then
      if not body:find('"user":"' .. user .. '"', 1, true) then signed_out = signed_out + 1 end
      -- The first put may still be under way on another connection.
      if sent > 1000 and not body:find('"espresso":7', 1, true) then carts_lost = carts_lost + 1 end
   end
end

function done(summary, latency, requests)
   local total = { answers = 0, failed = 0, signed_out = 0, carts_lost = 0 }
   for _, thread in ipairs(threads) do
      for name in pairs(total) do total[name] = total[name] + thread:get(name) end
   end
   local errors = summary.errors
   io.write(string.format("RESULT %d %d %d %d %d\n", total.answers, total.failed, total.signed_out, total.carts_lost,
      errors.connect + errors.read + errors.write + errors.timeout))
end
