package main

import (
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/format"
)

// assigned writes calls that name a place for their result as an equation: f(x, y) as y = f(x). OPA knows both forms for each of its
// functions, lictor the second alone for those of io.jwt and crypto.
func assigned(text string) (string, error) {
	if !strings.Contains(text, "io.jwt.") && !strings.Contains(text, "crypto.") {
		return text, nil
	}
	module, err := ast.ParseModuleWithOpts("", text, ast.ParserOptions{RegoVersion: ast.RegoV1})
	if err != nil {
		// A case of what does not parse stays as it is.
		return text, nil
	}
	ast.WalkExprs(module, func(expression *ast.Expr) bool {
		terms, is := expression.Terms.([]*ast.Term)
		if !is || len(terms) < 2 {
			return false
		}
		name := terms[0].String()
		function, known := ast.BuiltinMap[name]
		if known && (strings.HasPrefix(name, "io.jwt.") || strings.HasPrefix(name, "crypto.")) && len(terms) == function.Decl.Arity()+2 {
			last := len(terms) - 1
			expression.Terms = ast.Equality.Expr(terms[last], ast.CallTerm(terms[:last]...)).Terms
		}
		return false
	})
	formatted, err := format.AstWithOpts(module, format.Opts{RegoVersion: ast.RegoV1})
	return string(formatted), err
}
