use crate::inject::expr::*;
use crate::inject::kube::schema::objects;
use serde_json::{Value as Json, json};

/// Calls `use_names` with the names of a template with three parameters.
fn with_names<T>(use_names: impl FnOnce(&Vocabulary<'_>) -> T) -> T {
    let parameters = [("logDir", Type::String), ("extra", Type::map(Type::String)), ("tags", Type::list(Type::String))];
    let parameters = parameters.map(|(name, kind)| DeclaredParameter { name, kind, default: &Json::Null });
    use_names(&Vocabulary { parameters: &parameters, objects: objects(), ..Vocabulary::default() })
}

fn compiled(source: &str) -> Result<Expression, ExpressionError> {
    with_names(|names| Expression::compile(source, names))
}

fn evaluate_with(text: &str, object: &Json, params: &Json) -> Result<Json, String> {
    let roots = Roots {
        object,
        request: &json!({"namespace": "shop", "operation": "CREATE", "dryRun": false}),
        params,
        values: &json!({"REGION": "eu"}),
        namespace: &Json::Null,
        cluster: None,
    };
    match with_names(|names| compile(text, names)).map_err(|error| error.message)? {
        Compiled::Plain(text) => Ok(Json::String(text)),
        Compiled::Interpolated(text) => text.evaluate(&Scope::new(&roots, &[])),
    }
}

fn evaluate(text: &str) -> Result<Json, String> {
    let object = json!({
        "metadata": {"labels": {"app.kubernetes.io/name": "shop"}, "annotations": {"a/b": "x"}},
        "spec": {"containers": [{"name": "app", "ports": [{"containerPort": 8080}]}], "restartPolicy": "Never"},
    });
    evaluate_with(text, &object, &json!({"logDir": "/log", "extra": {"b": "2", "a": "1"}, "tags": null}))
}

#[test]
fn a_single_expression_keeps_its_type_and_surrounding_text_makes_a_string() {
    for (text, expected) in [
        ("plain", json!("plain")),
        ("$${HOME}", json!("${HOME}")),
        ("${params.logDir}", json!("/log")),
        ("${params.logDir}/app", json!("/log/app")),
        ("${1 + 2}", json!(3)),
        ("${1 + 2}s", json!("3s")),
        ("${true}", json!(true)),
        ("x${true}${1.5}", json!("xtrue1.5")),
        ("${['a'] + ['b']}", json!(["a", "b"])),
        ("${params.tags}", json!(null)),
        ("${params.extra}", json!({"a": "1", "b": "2"})),
        ("${label('app.kubernetes.io/name', 'none')}", json!("shop")),
        ("${label('x', 'none')}", json!("none")),
        ("${annotation('a/b', '')}", json!("x")),
        ("${object.metadata.labels['app.kubernetes.io/name']}", json!("shop")),
        ("${get(object, 'spec.containers.0.ports.0.containerPort', 0) + 1}", json!(8081)),
        ("${get(object, 'spec.hostNetwork', false)}", json!(false)),
        ("${object.spec.restartPolicy != 'Never'}", json!(false)),
        ("${has(object.spec.hostNetwork)}", json!(false)),
        ("${object.spec.containers.map(c, c.name)}", json!(["app"])),
        ("${params.extra.map(k, k).sort()}", json!(["a", "b"])),
        ("${json(params.extra)}", json!("{\"a\":\"1\",\"b\":\"2\"}")),
        ("${shellQuote('it\\'s $HOME')}", json!("'it'\\''s $HOME'")),
        ("${request.namespace}-${values.REGION}", json!("shop-eu")),
        ("${quantity('64Mi').add(quantity('64Mi'))}", json!("134217728")),
        ("${['a', 'b'].join('-').replace('-', '+')}", json!("a+b")),
        ("${{'a': 1}.a}", json!(1)),
        ("${math.greatest(1, 2)}", json!(2)),
    ] {
        assert_eq!(evaluate(text), Ok(expected), "{text}");
    }
}

#[test]
fn errors_name_the_expression_and_the_remedy() {
    for (text, why) in [
        ("${object.spec.hostNetwork}", "there is no \"hostNetwork\"; if it can be missing, use label"),
        ("x${get(object, 'spec.newField', null)}", "it is null"),
        ("x${dyn(params.extra)}", "inside text, use json(…)"),
        ("${1 + dyn('x')}", "its operands have incompatible types"),
        ("${dyn(true) + 'x'}", "`+` does not work with bool and string"),
        ("${dyn(1).upperAscii()}", "string is needed, not int"),
        ("${size(dyn(1))}", "size: int has no size"),
        ("${dyn(duration('5m'))}", "the result is a duration"),
        ("${1 / 0}", "division by zero"),
        ("${[1][3]}", "the list has no item 3"),
        ("${dyn(1).indexOf('x')}", "indexOf: indexOf not supported on type int"),
        ("${values.NONE}", "there is no \"NONE\""),
    ] {
        let error = evaluate(text).expect_err(text);
        assert!(error.contains(why) && error.starts_with("the expression \""), "{text}: {error}");
    }
}

#[test]
fn errors_are_found_when_the_template_is_loaded() {
    for (source, message, help) in [
        ("HOME", "`HOME` is not a variable here", "for a literal write $${HOME}"),
        ("objekt.spec", "`objekt` is not a variable here", "did you mean \"object\"?"),
        ("params.logdir", "`params.logdir` is not declared", "did you mean \"params.logDir\"?"),
        ("params", "`params` cannot be used as a whole", "logDir, extra, tags"),
        ("variables.x", "`variables.x` is not declared", "the template declares no variables"),
        ("request.user", "`request.user` is not declared", "namespace, operation, dryRun"),
        ("container.name", "`container` is not a variable here", "appContainers"),
        ("object.metadata.name", "object.metadata.name is not known", "fieldPath: metadata.name"),
        ("object.metadata['uid']", "object.metadata.uid is not known", "fieldRef"),
        ("object.spec.nodeName", "object.spec.nodeName is not known", "fieldRef"),
        ("has(object.status.podIP)", "object.status is not known", "fieldRef"),
        ("get(object, 'metadata.name', '')", "object.metadata.name is not known", "fieldRef"),
        ("upper('x')", "the function `upper` is not available", ""),
        ("lists.range(3)", "the function `lists.range` is not available", ""),
        ("'%s'.format(['x'])", "the function `format` is not available", ""),
        ("label('x')", "`label` takes a key and a default", "label('key', 'default')"),
        ("get(object, params.logDir, '')", "the path of `get(object, …)` must be a constant string", ""),
        ("'x'.matches(params.logDir)", "the pattern of `matches` must be a constant string", ""),
        ("params.extra.map(k, k)", "the result of a loop over a map must be sorted", "MAP.map(k, k).sort().map(k, …)"),
        ("object.metadata.labels.map(k, k)", "the result of a loop over a map must be sorted", ".sort()"),
        ("get(object, 'metadata.labels', {}).map(k, k)", "must be sorted", ".sort()"),
        ("get(object, 'spec.new', []).map(k, k)", "must be sorted", "([] + LIST).map"),
        ("object.metadata.labels.exists(k, int(k) == 1)", "can only compare its keys", ""),
        ("type('a')", "the function `type` is not available", "when the template is loaded"),
        ("bytes('a')", "the function `bytes` is not available", "string"),
        ("cel.bind(x, 1, x)", "the function `cel.bind` is not available", "`variables`"),
        ("[1].all(i, v, v > 0)", "the function `all` is not available", "one variable"),
        ("object.?spec", "invalid CEL expression: unsupported syntax '.?'", "get(object, 'a.b', default)"),
        ("object.spec.volumes[?0]", "invalid CEL expression: unsupported syntax '[?'", "get("),
        ("[1].map(a, [1].map(b, [1].map(c, c)))", "at most two loops", ""),
        ("", "the expression is empty", ""),
        ("1 +", "invalid CEL expression", ""),
        ("a b", "invalid CEL expression", ""),
        ("T{a: 1}", "message types are not supported", ""),
    ] {
        let error = compiled(source).expect_err(source);
        assert!(error.message.contains(message) && error.help.contains(help), "{source}: {error:?}");
    }
    assert!(compiled("params.extra.exists(k, k == 'a')").is_ok(), "order does not matter to exists");
}

#[test]
fn the_paths_that_an_expression_reads_are_known() {
    let reads =
        compiled("object.spec.containers[0].name + params.logDir + object.metadata.labels['a.b'] + label('x', '')")
            .expect("a valid expression")
            .reads;
    let paths: Vec<String> = reads.object.iter().map(|path| path.join("/")).collect();
    assert_eq!(paths, ["metadata/labels", "metadata/labels/a.b", "spec/containers"]);
    assert_eq!(reads.parameters.into_iter().collect::<Vec<_>>(), ["logDir"]);
}

/// Runs on a thread with the stack size of tokio's workers, which none of these expressions may overflow.
#[test]
fn hostile_expressions_are_rejected_before_they_do_harm() {
    let hostile = [
        "1".to_owned() + &"+1".repeat(1_000),
        "(".repeat(1_000) + "1" + &")".repeat(1_000),
        "[".repeat(2_000),
        "!".repeat(2_000) + "true",
        "-".repeat(1_900) + "1",
        "true?1:".repeat(280) + "1",
        "a.b".repeat(600),
        "object".to_owned() + &".a".repeat(1_000),
        "object".to_owned() + &"[0]".repeat(600),
        "'a'".to_owned() + &".trim()".repeat(280),
        "1".to_owned() + &"&&1".repeat(600),
        "[1].map(a,".repeat(30) + "1" + &")".repeat(30),
        "'".to_owned() + &"\\".repeat(500),
        "\u{0}\u{1}é🦀".repeat(100),
        "@#$^`;~".repeat(200),
        "'a' ".repeat(500),
        "a b ".repeat(500),
        ") ".repeat(1_000),
        ", . ".repeat(500),
        "? : ".repeat(60),
        "\"".repeat(2_001),
        "x".repeat(3_000),
    ];
    // The largest expressions that compile must also be evaluated on such a stack.
    let allowed = [
        "[1,".repeat(31) + "1" + &"]".repeat(31),
        "{'a':".repeat(31) + "1" + &"}".repeat(31),
        "1".to_owned() + &"+1".repeat(45),
        "true?1:".repeat(45) + "1",
        "'a'".to_owned() + &".trim()".repeat(45),
        "'\u{1}é🦀'".to_owned(),
        format!("'{}'", "é🦀".repeat(300)),
    ];
    let small = std::thread::Builder::new().stack_size(2 * 1024 * 1024);
    let run = move || {
        for source in &hostile {
            let shown: String = source.chars().take(20).collect();
            assert!(compiled(source).is_err(), "{shown}");
        }
        let null = &Json::Null;
        let roots = Roots { object: null, request: null, params: null, values: null, namespace: null, cluster: None };
        for source in &allowed {
            let shown: String = source.chars().take(20).collect();
            let expression = compiled(source).expect(&shown);
            Scope::new(&roots, &[]).evaluate(&expression).expect(&shown);
        }
    };
    small.spawn(run).expect("a thread").join().expect("no overflow");
}

#[test]
fn the_size_of_texts_is_limited() {
    let long = "x".repeat(1_000);
    let object =
        json!({"metadata": {"finalizers": vec!["x"; 2_000]}, "spec": {"containers": vec![json!({"name": long}); 300]}});
    let env: Vec<Json> = (0..200).map(|n| json!({"name": format!("N{n}"), "value": "v"})).collect();
    let ordinary = json!({"spec": {"containers": [{"env": env}]}});
    let names = evaluate_with("${object.spec.containers[0].env.map(e, e.name).join(',')}", &ordinary, &json!({}));
    assert!(names.is_ok(), "{names:?}");
    let params = json!({"logDir": long, "extra": {}, "tags": null});
    for (text, why) in [
        ("${params.logDir.replace('x', params.logDir)}", "64 KiB"),
        ("${[1, 2, 3, 4, 5, 6, 7, 8, 9].map(c, params.logDir.replace('x', 'yyyyyyy')).join(params.logDir)}", "64 KiB"),
        ("${object.spec.containers.map(c, object.spec.containers.map(d, d.name))}", "too large for these loops"),
        ("${object.spec.containers.map(c, object.spec.containers)}", "too large for these loops"),
        ("${object.metadata.finalizers.distinct()}", "too large for these loops"),
        (
            "${object.metadata.finalizers.exists(a, a in object.metadata.finalizers && false)}",
            "too large for these loops",
        ),
        (
            "${object.metadata.finalizers.all(a, object.metadata.finalizers == object.metadata.finalizers)}",
            "too large for these loops",
        ),
        (
            "${object.metadata.finalizers.exists(a, sets.contains(object.metadata.finalizers, [a]) == false)}",
            "too large for these loops",
        ),
    ] {
        let error = evaluate_with(text, &object, &params).expect_err(text);
        assert!(error.contains(why), "{text}: {error}");
    }
}

#[test]
fn variables_are_evaluated_when_they_are_read() {
    let mut variables: Vec<(String, Expression)> = Vec::new();
    for (name, source) in [("a", "params.logDir + '/a'"), ("broken", "object.spec.none"), ("b", "variables.a + '/b'")] {
        let expression =
            with_names(|names| Expression::compile(source, &Vocabulary { variables: &variables, ..*names }));
        variables.push((name.to_owned(), expression.expect("a valid expression")));
    }
    let roots = Roots {
        object: &json!({"spec": {}}),
        request: &Json::Null,
        params: &json!({"logDir": "/log"}),
        values: &Json::Null,
        namespace: &Json::Null,
        cluster: None,
    };
    let scope = Scope::new(&roots, &variables);
    let value = |source: &str| {
        let compiled = with_names(|names| Expression::compile(source, &Vocabulary { variables: &variables, ..*names }));
        scope.evaluate(&compiled.expect("a valid expression"))
    };
    assert_eq!(value("variables.b"), Ok(json!("/log/a/b")));
    assert!(value("variables.broken").unwrap_err().contains("there is no \"none\""));
    assert_eq!(value("true || variables.b == ''"), Ok(json!(true)));
}
