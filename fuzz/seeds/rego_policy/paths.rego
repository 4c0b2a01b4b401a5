default allow := false

allow if {
	input.attributes.request.http.method == "GET"
	input.parsed_path[0] == "a"
	not denied
}

denied if {
	some name, value in input.attributes.request.http.headers
	name == "x"
	to_number(value) > 3
}

denied if walk(input.parsed_body, [["n", _], null])
