package main

import (
	"io/fs"
	"regexp"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/test/cases"
	"github.com/open-policy-agent/opa/v1/test/cases/testdata"
	"github.com/open-policy-agent/opa/v1/util"
)

// The queries that ask for the value of one rule.
var oneRule = regexp.MustCompile(`^(data(?:\.[A-Za-z_][A-Za-z0-9_]*){2,}) = x$`)

// suite is OPA's own compliance suite, as far as it asks for the value of a rule without data documents, which no ConfigMap has.
func suite() ([]question, error) {
	questions := []question{}
	err := fs.WalkDir(testdata.V1, "v1", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := fs.ReadFile(testdata.V1, path)
		if err != nil {
			return err
		}
		var set cases.Set
		if err := util.Unmarshal(text, &set); err != nil {
			return err
		}
		for _, one := range set.Cases {
			rule := oneRule.FindStringSubmatch(one.Query)
			// Nothing of this reaches the network.
			outside := slices.ContainsFunc(one.Modules, func(text string) bool {
				return strings.Contains(text, "http.send") || strings.Contains(text, "net.lookup_ip_addr")
			})
			if outside || rule == nil || one.Data != nil && len(*one.Data) > 0 || one.InputTerm != nil || one.ExperimentalKeywords || len(one.Env) > 0 {
				continue
			}
			asked := question{Name: one.Note, Rule: rule[1]}
			for _, module := range one.Modules {
				text, err := assigned(module)
				if err != nil {
					return err
				}
				asked.Modules = append(asked.Modules, text)
			}
			if one.Input != nil {
				asked.Input = *one.Input
			}
			questions = append(questions, asked)
		}
		return nil
	})
	return questions, err
}
