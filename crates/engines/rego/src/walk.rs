//! Every expression of a module, once, with a stack of its own: a text may nest deeper than the thread's allows.

use regorus::unstable::{Expr, Literal, Module, Query, Rule, RuleAssign, RuleHead};

/// What is still to be visited.
enum Next<'m> {
    Expression(&'m Expr, usize),
    Query(&'m Query, usize),
}

/// Calls `visit` for every expression of a rule, with how deep it stands.
pub(crate) fn rule<'m>(rule: &'m Rule, visit: &mut impl FnMut(&'m Expr, usize)) {
    let mut stack = Vec::new();
    begin(rule, &mut stack);
    while let Some(next) = stack.pop() {
        match next {
            Next::Expression(expression, depth) => {
                visit(expression, depth);
                children(expression, depth + 1, &mut stack);
            }
            Next::Query(query, depth) => statements(query, depth + 1, &mut stack),
        }
    }
}

fn begin<'m>(rule: &'m Rule, stack: &mut Vec<Next<'m>>) {
    let mut push = |expression: &'m Expr| stack.push(Next::Expression(expression, 0));
    let assigned = |assign: &'m Option<RuleAssign>| assign.as_ref().map(|assign| &*assign.value);
    match rule {
        Rule::Spec { head, bodies, .. } => {
            match head {
                RuleHead::Compr { refr, assign, .. } => {
                    push(refr);
                    assigned(assign).map(&mut push);
                }
                RuleHead::Set { refr, key, .. } => {
                    push(refr);
                    key.iter().for_each(|key| push(key));
                }
                RuleHead::Func { refr, args, assign, .. } => {
                    push(refr);
                    args.iter().for_each(|arg| push(arg));
                    assigned(assign).map(&mut push);
                }
            }
            bodies.iter().filter_map(|body| assigned(&body.assign)).for_each(&mut push);
            stack.extend(bodies.iter().map(|body| Next::Query(&body.query, 0)));
        }
        Rule::Default { value, .. } => push(value),
    }
}

fn statements<'m>(query: &'m Query, depth: usize, stack: &mut Vec<Next<'m>>) {
    for statement in &query.stmts {
        let mut push = |expression: &'m Expr| stack.push(Next::Expression(expression, depth));
        for with in &statement.with_mods {
            push(&with.refr);
            push(&with.r#as);
        }
        match &statement.literal {
            Literal::SomeVars { .. } => {}
            Literal::SomeIn { key, value, collection, .. } => {
                key.iter().chain([value, collection]).for_each(|one| push(one));
            }
            Literal::Expr { expr, .. } | Literal::NotExpr { expr, .. } => push(expr),
            Literal::Every { domain, query, .. } => {
                push(domain);
                stack.push(Next::Query(query, depth));
            }
        }
    }
}

fn children<'m>(of: &'m Expr, depth: usize, stack: &mut Vec<Next<'m>>) {
    let mut push = |expression: &'m Expr| stack.push(Next::Expression(expression, depth));
    match of {
        Expr::String { .. }
        | Expr::RawString { .. }
        | Expr::Number { .. }
        | Expr::Bool { .. }
        | Expr::Null { .. }
        | Expr::Var { .. } => {}
        Expr::Array { items, .. } | Expr::Set { items, .. } => items.iter().for_each(|item| push(item)),
        Expr::Object { fields, .. } => fields.iter().flat_map(|(_, key, value)| [key, value]).for_each(|one| push(one)),
        Expr::ArrayCompr { term, query, .. } | Expr::SetCompr { term, query, .. } => {
            push(term);
            stack.push(Next::Query(query, depth));
        }
        Expr::ObjectCompr { key, value, query, .. } => {
            push(key);
            push(value);
            stack.push(Next::Query(query, depth));
        }
        Expr::Call { fcn, params, .. } => {
            push(fcn);
            params.iter().for_each(|param| push(param));
        }
        Expr::UnaryExpr { expr, .. } => push(expr),
        Expr::RefDot { refr, .. } => push(refr),
        Expr::RefBrack { refr, index, .. } => {
            push(refr);
            push(index);
        }
        Expr::BinExpr { lhs, rhs, .. }
        | Expr::BoolExpr { lhs, rhs, .. }
        | Expr::ArithExpr { lhs, rhs, .. }
        | Expr::AssignExpr { lhs, rhs, .. } => {
            push(lhs);
            push(rhs);
        }
        Expr::Membership { key, value, collection, .. } => {
            key.iter().chain([value, collection]).for_each(|one| push(one));
        }
    }
}

/// Calls `visit` for every expression of a module.
pub(crate) fn module<'m>(module: &'m Module, visit: &mut impl FnMut(&'m Expr)) {
    module.policy.iter().for_each(|one| rule(one, &mut |expression, _| visit(expression)));
}
