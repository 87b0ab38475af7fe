use kube_cel::cel::Program;
use serde_json::{Value as Json, json};

use crate::inject::expr::types::Type;
use crate::inject::expr::{DeclaredParameter, Expression, ExpressionError, Roots, Scope, Vocabulary, check};
use crate::inject::kube::schema::objects;

/// Expressions with their error, a part of its help, and its offset.
const ERRORS: [(&str, &str, &str, usize); 40] = [
    ("'a' + params.on", "`+` does not work with string and bool", "write string(params.on)", 4),
    ("label('a', 'b') + 1", "`+` does not work with string and int", "write string(1)", 16),
    ("params.n + '1'", "`+` does not work with int and string", "write string(params.n)", 9),
    ("params.n - params.text", "`-` does not work with int and string", "write int(params.text)", 9),
    ("params.n * 1.5", "`*` does not work with int and double", "write double(params.n)", 9),
    ("params.tags + 'a'", "`+` does not work with list(string) and string", "write ['a']", 12),
    ("!params.text", "`!` does not work with string", "", 0),
    ("-params.text", "`-` does not work with string", "", 0),
    ("params.on && params.text", "`&&` does not work with bool and string", "", 10),
    ("params.text < 1", "`<` does not work with string and int", "write int(params.text)", 12),
    ("params.text ? 1 : 2", "the condition before `?` must be bool, not string", "", 12),
    ("'a' in params.text", "`in` needs a list or a map on its right side, not string", "TEXT.contains", 4),
    ("params.n.upperAscii()", "`upperAscii` is not available for int", "write string(params.n).upperAscii()", 9),
    ("params.tags.upperAscii()", "`upperAscii` is not available for list(string)", "available for string", 12),
    ("params.text.split(1)", "`split` does not take (int)", "string.split(string), string.split(string, int)", 12),
    ("params.text.split()", "`split` does not take ()", "string.split(string)", 12),
    ("int(params.on)", "`int` does not take (bool)", "available: int(int)", 0),
    ("label(1, 'a')", "`label` does not take (int, string)", "write label('key', 'default')", 0),
    ("[1, 2].join(',')", "`join` is not available for list(int)", "LIST.map(item, string(item))", 7),
    (
        "params.text.isGreaterThan(quantity('1'))",
        "`isGreaterThan` is not available for string",
        "write quantity(params.text)",
        12,
    ),
    ("quantity('1') > quantity('2')", "`>` does not work with quantity and quantity", ".isGreaterThan", 14),
    ("params.text.name", "`.name` is not available for string", "", 12),
    ("params.tags.name", "`.name` is not available for list(string)", "LIST[0]", 12),
    ("has(params.text.name)", "`.name` is not available for string", "", 16),
    ("params.text[0]", "string has no items", "", 11),
    ("params.tags['a']", "the index of a list must be int, not string", "", 11),
    ("params.extra[1]", "the key of a map(string, int) must be string, not int", "", 12),
    ("params.text.map(c, c)", "a loop needs a list or a map, not string", "", 0),
    ("params.tags.exists(t, t)", "the condition of a loop must be bool, not string", "", 0),
    ("params.tags.all(t, 1)", "the condition of a loop must be bool, not int", "", 0),
    ("params.tags.filter(t, 'a')", "the condition of a loop must be bool, not string", "", 0),
    ("params.tags.exists_one(t, 'a')", "the condition of a loop must be bool, not string", "", 0),
    ("params.tags.map(t, t + 1)", "`+` does not work with string and int", "write string(1)", 21),
    ("object.metadata.lables.app", "unknown field \"lables\" in ObjectMeta", "did you mean \"labels\"?", 16),
    ("object.spec.containers[0].imag", "unknown field \"imag\" in Container", "did you mean \"image\"?", 26),
    ("object.spec.containers.map(c, c.nam)", "unknown field \"nam\" in Container", "did you mean \"name\"?", 32),
    ("variables.first.imag", "unknown field \"imag\" in Container", "did you mean \"image\"?", 16),
    ("variables.names.upperAscii()", "`upperAscii` is not available for list(string)", "", 16),
    ("container.ports.containerPort", "`.containerPort` is not available for list(ContainerPort)", "LIST[0]", 16),
    ("get(params.extra, 1, '')", "the path of `get` must be a string, not int", "", 0),
];

/// Compiles an expression of a template with parameters of all types and two variables.
fn compiled(source: &str) -> Result<Expression, ExpressionError> {
    let parameters = [
        ("text", Type::String),
        ("n", Type::Int),
        ("ratio", Type::Number),
        ("on", Type::Bool),
        ("tags", Type::list(Type::String)),
        ("extra", Type::map(Type::Int)),
    ];
    let parameters = parameters.map(|(name, kind)| DeclaredParameter { name, kind, default: &Json::Null });
    let mut variables = Vec::new();
    for (name, source) in [("names", "object.spec.containers.map(c, c.name)"), ("first", "object.spec.containers[0]")] {
        let names = Vocabulary { parameters: &parameters, objects: objects(), ..Vocabulary::default() };
        variables.push((name.to_owned(), Expression::compile(source, &names).expect(source)));
    }
    let names = Vocabulary { parameters: &parameters, variables: &variables, container: true, objects: objects() };
    Expression::compile(source, &names)
}

#[test]
fn expressions_have_types() {
    for (source, kind) in [
        ("1", "int"),
        ("1u", "uint"),
        ("1.5", "double"),
        ("null", "null"),
        ("b'x'", "bytes"),
        ("[]", "list(dyn)"),
        ("[].join(',')", "string"),
        ("[].map(x, x + 1)", "list(int)"),
        ("{}.a", "dyn"),
        ("[1, 2]", "list(int)"),
        ("[1, 2.5]", "list(number)"),
        ("['a', 1]", "list(dyn)"),
        ("{'a': true}", "map(string, bool)"),
        ("{1: 'a'}", "map(int, string)"),
        ("params.text + 'a'", "string"),
        ("params.n * 2", "int"),
        ("params.ratio * 2.0", "double"),
        ("params.ratio + params.ratio", "number"),
        ("params.tags + ['b']", "list(string)"),
        ("params.tags[0]", "string"),
        ("params.extra['a']", "int"),
        ("params.extra.a", "int"),
        ("params['text']", "string"),
        ("has(params.extra.a)", "bool"),
        ("params.on ? params.text : 'x'", "string"),
        ("params.on ? params.text : null", "string"),
        ("params.on ? 1 : 'x'", "dyn"),
        ("values.REGION", "string"),
        ("request.dryRun", "bool"),
        ("request.namespace", "string"),
        ("object.spec.containers", "list(Container)"),
        ("object.spec.containers[0].ports[0].containerPort + 1", "int"),
        ("object.spec['restartPolicy']", "string"),
        ("object.metadata.labels['a/b']", "string"),
        ("object.spec.containers[0].resources.limits.cpu", "dyn"),
        ("object.spec.containers.filter(c, has(c.env)).map(c, c.name)", "list(string)"),
        ("object.spec.containers.map(c, c.image.startsWith('x'), c.name)", "list(string)"),
        ("object.spec.containers.map(c, c.ports.map(p, p.containerPort))", "list(list(int))"),
        ("object.spec.containers.exists(c, c.name == 'a')", "bool"),
        ("object.spec.containers.exists_one(c, c.name == 'a')", "bool"),
        ("object.metadata.labels.map(k, k).sort()", "list(string)"),
        ("params.extra.map(k, k).sort().map(k, {'name': k})", "list(map(string, string))"),
        ("variables.names", "list(string)"),
        ("variables.names.map(n, n + 'x')", "list(string)"),
        ("variables.first.image", "string"),
        ("container.name", "string"),
        ("label('a', 'b')", "string"),
        ("label('a', null)", "string"),
        ("label('a', 1)", "dyn"),
        ("get(object, 'spec.terminationGracePeriodSeconds', 30)", "int"),
        ("get(object, 'spec.containers.0.name', '')", "string"),
        ("get(object, 'spec.volumes', [])", "list(Volume)"),
        ("get(object, 'spec.newField', 1)", "dyn"),
        ("get(object, 'metadata.labels.a', '')", "string"),
        ("[] + get(object, 'spec.newField', [])", "list(dyn)"),
        ("([] + get(object, 'spec.newField', [])).map(x, x.name)", "list(dyn)"),
        ("json(params.tags)", "string"),
        ("dyn(params.n)", "dyn"),
        ("dyn(params.n) + 'x'", "string"),
        ("quantity('1Gi').add(1)", "quantity"),
        ("url('http://a').getQuery()", "map(string, list(string))"),
        ("params.tags.first().orValue('x')", "string"),
        ("[[1], [2]].flatten()", "list(int)"),
        ("math.greatest(params.n, 1)", "number"),
        ("math.greatest([1, 2])", "int"),
        ("'a' in params.extra", "bool"),
        ("params.n < params.ratio", "bool"),
        ("size(params.tags)", "int"),
        ("string(params.on)", "string"),
        ("duration('1m') + duration('1m')", "duration"),
    ] {
        let expression = compiled(source).expect(source);
        assert_eq!((expression.result.to_string().as_str(), &expression.warnings[..]), (kind, &[][..]), "{source}");
    }
}

#[test]
fn parts_that_always_fail_are_errors() {
    for (source, message, help, at) in ERRORS {
        match compiled(source) {
            Ok(expression) => panic!("{source} is {}", expression.result),
            Err(error) => {
                assert_eq!((error.message.as_str(), error.offset), (message, at), "{source}");
                assert!(error.help.contains(help), "{source}: {}", error.help);
            }
        }
    }
}

/// An error is never false: without types, the evaluation fails for all values. The library evaluates members of values
/// that have none to false; CEL does not.
#[test]
fn what_is_an_error_fails_when_it_is_evaluated() {
    let container = json!({"name": "a", "image": "a:1", "ports": [{"containerPort": 80}]});
    let roots = Roots {
        object: &json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [container]}}),
        request: &Json::Null,
        params: &json!({"text": "a", "n": 1, "ratio": 1.5, "on": true, "tags": ["a"], "extra": {"a": 1}}),
        values: &Json::Null,
        namespace: &Json::Null,
        cluster: None,
    };
    for (source, message, ..) in ERRORS {
        if message.starts_with("`.") || source.contains("variables.") || source.contains("container.") {
            continue;
        }
        let parameters = ["text", "n", "ratio", "on", "tags", "extra"].map(|name| DeclaredParameter {
            name,
            kind: Type::Dyn,
            default: &Json::Null,
        });
        let names = Vocabulary { parameters: &parameters, ..Vocabulary::default() };
        let tree = Program::compile(source).expect(source).expression().clone();
        let (tree, reads) = check::check(tree, &names).expect(source);
        let expression = Expression { tree, reads, ..Expression::broken() };
        let result = Scope::new(&roots, &[]).evaluate(&expression);
        assert!(result.is_err(), "{source}: {result:?}");
    }
}

#[test]
fn probable_mistakes_are_warnings() {
    for (source, message, help) in [
        ("object.spec.newField", "unknown field \"newField\" in PodSpec", "get(object, path, default)"),
        ("has(object.metadata.lables)", "unknown field \"lables\" in ObjectMeta", "did you mean \"labels\"?"),
        ("get(object, 'metadata.lables.app', '')", "unknown field \"lables\" in ObjectMeta", "\"labels\""),
        ("params.n == '1'", "int and string are never equal", "write string(params.n)"),
        ("params.text != 1", "string and int are never equal", "write string(1)"),
        ("1 in params.tags", "list(string) never contains int", "write string(1)"),
        ("1 in params.extra", "map(string, int) never contains the key int", ""),
        ("upperAscii('a')", "admission policies do not have this form of `upperAscii`", "….upperAscii(…)"),
        ("params.n.string()", "admission policies do not have this form of `string`", "string(…)"),
        ("params.tags.contains('a')", "`contains` is not available in admission policies", "ITEM in LIST"),
        ("'a' in object.spec", "admission policies do not have `in` for PodSpec", "has(…)"),
        ("max(1, 2)", "`max` is not available in admission policies", "[A, B].max()"),
    ] {
        let warnings = compiled(source).expect(source).warnings;
        let [warning] = &warnings[..] else { panic!("{source}: {warnings:?}") };
        assert_eq!(warning.message, message, "{source}");
        assert!(warning.help.contains(help), "{source}: {}", warning.help);
    }
}

#[test]
fn tests_of_unknown_fields_are_neither_errors_nor_warnings() {
    for source in [
        "has(object.spec.newField)",
        "has(object.spec.newField) && object.spec.newField == 1",
        "has(object.spec.newField) ? object.spec.newField : 1",
        "'newField' in container.resources.limits && container.resources.limits.newField == '1'",
        "get(object, 'spec.newField', 1) == 1",
        "params.text == null",
        "get(object, 'spec.priority', null) == null",
    ] {
        assert_eq!(compiled(source).expect(source).warnings, [], "{source}");
    }
}
