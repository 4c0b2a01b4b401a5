// A client of the SPIFFE Workload API on go-spiffe, for `cargo xtask interop`.
//
// Each form prints one JSON object a line on standard output; a refusal is the last line, {"error": ...}, and exit 1.
// The address of the Workload API is SPIFFE_ENDPOINT_SOCKET, as the specification says. The Rust client beside this one
// takes the same words, so that one set of checks serves both and each can be the other's peer.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"
)

const usage = `usage: go-spiffe fetch | x509 COUNT | jwt AUDIENCE | verify TOKEN AUDIENCE | validate TOKEN AUDIENCE |
                 serve ADDRESS PEER-ID | dial ADDRESS PEER-ID COUNT |
                 bundle web TRUST-DOMAIN URL ROOTS.pem | bundle spiffe TRUST-DOMAIN URL ENDPOINT-ID BUNDLE.json`

// How long a form waits for what it is to see; serving ends by the caller.
const patience = 60 * time.Second

func main() {
	if err := run(os.Args[1:]); err != nil {
		say(map[string]any{"error": err.Error()})
		os.Exit(1)
	}
}

func run(words []string) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	form := ""
	if len(words) > 0 {
		form = words[0]
	}
	switch {
	case form == "fetch" && len(words) == 1:
		return fetchOnce(ctx)
	case form == "x509" && len(words) == 2:
		count, err := strconv.Atoi(words[1])
		if err != nil {
			return err
		}
		return x509States(ctx, count)
	case form == "jwt" && len(words) == 2:
		return fetchToken(ctx, words[1])
	case form == "verify" && len(words) == 3:
		return verifyToken(ctx, words[1], words[2])
	case form == "validate" && len(words) == 3:
		return validateToken(ctx, words[1], words[2])
	case form == "serve" && len(words) == 3:
		return serve(words[1], words[2])
	case form == "dial" && len(words) == 4:
		count, err := strconv.Atoi(words[3])
		if err != nil {
			return err
		}
		return dial(ctx, words[1], words[2], count)
	case form == "bundle" && len(words) == 5 && words[1] == "web":
		return fetchByWeb(ctx, words[2], words[3], words[4])
	case form == "bundle" && len(words) == 6 && words[1] == "spiffe":
		return fetchBySpiffe(ctx, words[2], words[3], words[4], words[5])
	}
	return errors.New(usage)
}

func say(line map[string]any) {
	text, err := json.Marshal(line)
	if err != nil {
		text = []byte(fmt.Sprintf(`{"error":%q}`, err.Error()))
	}
	fmt.Println(string(text))
}
