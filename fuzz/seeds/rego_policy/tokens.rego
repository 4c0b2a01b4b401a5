token := t if { [_, t] := split(input.attributes.request.http.headers.authorization, " ") }
allow[{"allowed": v}] := claims if {
	[v, _, claims] := io.jwt.decode_verify(token, {"cert": `{"kty":"RSA","n":"AQ","e":"AQAB"}`, "aud": "a", "time": time.now_ns()})
}
allow if { [_, p, _] = io.jwt.decode(token); p.exp > 1e9; bits.lsh(1, 3) == 8; crypto.hmac.equal(crypto.sha256("a"), base64.encode("b")) }
allow if strings.replace_n({"a": "b"}, "aa") == "bb"
allow if { {x | x := [1, "a", {"k": {1, 2}}][_]} & {1} == {1}; glob.match("a/*", ["/"], "a/b"); net.cidr_contains("10.0.0.0/8", "10.1.1.1") }
