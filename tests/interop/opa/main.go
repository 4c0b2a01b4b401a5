// A program on OPA's own packages and Envoy's own messages: it answers, for questions on its standard input, what they answer.
// Questions and answers are JSON. xtask/src/interop/opa.rs compares the answers with lictor's.
package main

import (
	"encoding/json"
	"fmt"
	"os"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("usage: opa ask|suite|documents|statuses")
	}
	switch args[0] {
	case "ask":
		return answerEach(ask)
	case "suite":
		questions, err := suite()
		if err != nil {
			return err
		}
		return json.NewEncoder(os.Stdout).Encode(questions)
	case "documents":
		return answerEach(document)
	case "statuses":
		return json.NewEncoder(os.Stdout).Encode(statuses())
	default:
		return fmt.Errorf("%s: expected ask, suite, documents or statuses", args[0])
	}
}

// answerEach reads a list of questions and writes the list of their answers.
func answerEach[Question, Answer any](answer func(Question) Answer) error {
	decoder := json.NewDecoder(os.Stdin)
	// A number stays the text that it is.
	decoder.UseNumber()
	var questions []Question
	if err := decoder.Decode(&questions); err != nil {
		return err
	}
	answers := make([]Answer, len(questions))
	for at, question := range questions {
		answers[at] = answer(question)
	}
	return json.NewEncoder(os.Stdout).Encode(answers)
}
