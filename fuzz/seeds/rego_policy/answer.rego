import future.keywords.every
allow := {"allowed": ok, "headers": {"x": sprintf("%v %d", [input.parsed_query, 3])}, "http_status": 401, "body": concat(",", names)}
default ok := false
ok if every part in input.parsed_path { regex.match("^[a-z]+$", part) }
names contains name if input.attributes.request.http.headers[name]
lengths[name] := count(value) if value := input.attributes.request.http.headers[name]
f(x) := y if { x > 1; y := x * 2 } else := 0
total := sum([f(n) | n := numbers.range(1, 9)[_]]) with input.parsed_path as ["z"]
