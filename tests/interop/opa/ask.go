package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/rego"
	"github.com/open-policy-agent/opa/v1/topdown"
)

// A question to policies: the value of a rule for an input document.
type question struct {
	Name    string   `json:"name"`
	Modules []string `json:"modules"`
	V0      bool     `json:"v0"`
	Rule    string   `json:"rule"`
	Input   any      `json:"input"`
}

// What OPA says: one of the members.
type answer struct {
	Value     *any   `json:"value,omitempty"`
	Undefined bool   `json:"undefined,omitempty"`
	Refused   string `json:"refused,omitempty"`
	Failed    string `json:"failed,omitempty"`
	// The whole error, for people.
	Message string `json:"message,omitempty"`
}

func ask(question question) answer {
	version := ast.RegoV1
	if question.V0 {
		version = ast.RegoV0
	}
	options := []func(*rego.Rego){rego.Query(question.Rule), rego.Input(question.Input), rego.SetRegoVersion(version)}
	for at, text := range question.Modules {
		options = append(options, rego.Module(fmt.Sprint(at), text))
	}
	ctx := context.Background()
	query, err := rego.New(options...).PrepareForEval(ctx)
	if err != nil {
		return answer{Refused: code(err), Message: err.Error()}
	}
	results, err := query.Eval(ctx, rego.EvalInput(question.Input))
	if err != nil {
		return answer{Failed: code(err), Message: err.Error()}
	}
	if len(results) == 0 {
		return answer{Undefined: true}
	}
	return answer{Value: &results[0].Expressions[0].Value}
}

// code is the stable name of an error, such as rego_type_error.
func code(err error) string {
	var compiling ast.Errors
	if errors.As(err, &compiling) && len(compiling) > 0 {
		return compiling[0].Code
	}
	var parsing rego.Errors
	if errors.As(err, &parsing) && len(parsing) > 0 {
		return code(parsing[0])
	}
	var one *ast.Error
	if errors.As(err, &one) {
		return one.Code
	}
	var evaluating *topdown.Error
	if errors.As(err, &evaluating) {
		return evaluating.Code
	}
	return "error"
}
