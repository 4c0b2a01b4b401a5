package main

import (
	"net/http"
	"slices"

	kind "github.com/envoyproxy/go-control-plane/envoy/type/v3"
)

// statuses are the codes that a denial may have: Envoy's API has them, and Go a text for them.
func statuses() []int32 {
	known := []int32{}
	for code := range kind.StatusCode_name {
		if http.StatusText(int(code)) != "" {
			known = append(known, code)
		}
	}
	slices.Sort(known)
	return known
}
