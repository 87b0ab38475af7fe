// Prints, as JSON, the functions, variables and constants of Go packages that some of them reach, without comments.
//
//	go run declarations.go MODULE=DIR... PACKAGE... ROOT...
//
// MODULE=DIR is a module with its folder. PACKAGE is an import path. Only declarations of these packages are followed.
// ROOT is the name of a function, such as ValidatePodCreate or podStrategy.Validate; all packages are searched for it.
// The tests of a next version of Kubernetes use it.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/build"
	"go/parser"
	"go/printer"
	"go/token"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
)

// A declaration, and the keys of those that it uses. A key is PACKAGE#NAME.
type declaration struct {
	Package string `json:"package"`
	Name    string `json:"name"`
	Text    string `json:"text"`
	uses    []string
}

var (
	files        = token.NewFileSet()
	declarations = map[string]*declaration{}
)

func main() {
	modules := map[string]string{}
	var packages, roots []string
	for _, argument := range os.Args[1:] {
		if module, dir, isModule := strings.Cut(argument, "="); isModule {
			modules[module] = dir
		} else if strings.Contains(argument, "/") {
			packages = append(packages, argument)
		} else {
			roots = append(roots, argument)
		}
	}
	for _, name := range packages {
		for module, dir := range modules {
			if rest, isInside := strings.CutPrefix(name, module+"/"); isInside {
				read(name, filepath.Join(dir, rest))
			}
		}
	}
	reached := []*declaration{}
	seen := map[string]bool{}
	var follow func(key string)
	follow = func(key string) {
		found := declarations[key]
		if found == nil || seen[key] {
			return
		}
		seen[key] = true
		reached = append(reached, found)
		for _, use := range found.uses {
			follow(use)
		}
	}
	for _, root := range roots {
		for _, name := range packages {
			follow(name + "#" + root)
		}
	}
	if err := json.NewEncoder(os.Stdout).Encode(reached); err != nil {
		fail(err)
	}
}

// Reads a package, without conversions between versions of types. A package that a version does not have is empty.
func read(name, dir string) {
	found, err := build.ImportDir(dir, 0)
	if err != nil {
		return
	}
	for _, file := range found.GoFiles {
		if strings.HasSuffix(file, "conversion.go") {
			continue
		}
		parsed, err := parser.ParseFile(files, filepath.Join(dir, file), nil, parser.SkipObjectResolution)
		if err != nil {
			fail(err)
		}
		imports := map[string]string{}
		for _, one := range parsed.Imports {
			target, _ := strconv.Unquote(one.Path.Value)
			local := path.Base(target)
			if one.Name != nil {
				local = one.Name.Name
			}
			imports[local] = target
		}
		for _, one := range parsed.Decls {
			declare(name, imports, one)
		}
	}
}

func declare(name string, imports map[string]string, one ast.Decl) {
	switch one := one.(type) {
	case *ast.FuncDecl:
		of := one.Name.Name
		if one.Recv != nil {
			of = strings.TrimPrefix(text(one.Recv.List[0].Type), "*") + "." + of
		}
		add(name, of, imports, one)
	case *ast.GenDecl:
		if one.Tok != token.VAR && one.Tok != token.CONST {
			return
		}
		for _, spec := range one.Specs {
			spec := spec.(*ast.ValueSpec)
			for _, of := range spec.Names {
				add(name, of.Name, imports, spec)
			}
			if len(spec.Values) == 1 && name == "k8s.io/kubernetes/pkg/features" {
				gates(name, imports, spec.Values[0])
			}
		}
	}
}

// The entries of a map from feature gates to their defaults belong to the constants of the gates.
func gates(name string, imports map[string]string, value ast.Expr) {
	literal, isLiteral := value.(*ast.CompositeLit)
	if !isLiteral {
		return
	}
	for _, element := range literal.Elts {
		if pair, isPair := element.(*ast.KeyValueExpr); isPair {
			if gate, isName := pair.Key.(*ast.Ident); isName {
				add(name, gate.Name, imports, pair.Value)
			}
		}
	}
}

func add(name, of string, imports map[string]string, node ast.Node) {
	key := name + "#" + of
	found := declarations[key]
	if found == nil {
		found = &declaration{Package: name, Name: of}
		declarations[key] = found
	}
	found.Text += text(node) + "\n"
	if name == "k8s.io/kubernetes/pkg/features" {
		return
	}
	ast.Inspect(node, func(inner ast.Node) bool { return use(found, name, imports, inner) })
}

// Notes what a part of a declaration uses. Members of values are not followed. Returns false if the part is complete.
func use(found *declaration, name string, imports map[string]string, node ast.Node) bool {
	switch node := node.(type) {
	case *ast.SelectorExpr:
		if local, isName := node.X.(*ast.Ident); isName && imports[local.Name] != "" {
			found.uses = append(found.uses, imports[local.Name]+"#"+node.Sel.Name)
			return false
		}
		ast.Inspect(node.X, func(inner ast.Node) bool { return use(found, name, imports, inner) })
		return false
	case *ast.Ident:
		found.uses = append(found.uses, name+"#"+node.Name)
	}
	return true
}

func text(node ast.Node) string {
	var buffer bytes.Buffer
	if err := printer.Fprint(&buffer, files, node); err != nil {
		fail(err)
	}
	return buffer.String()
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
