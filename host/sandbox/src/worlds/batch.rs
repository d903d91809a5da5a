//! `wasmill:handler/batch-handler`: handlers that take many deliveries in one call.

use wasmtime::{
    Engine, Store,
    component::{
        Component, ComponentExportIndex, ComponentNamedList, Instance, InstancePre, Lift, Lower, types::ComponentItem,
    },
};

use crate::{
    attempt::Delivery,
    bindings::wasmill::handler::types::{self, Failure},
    fit::LoadError,
    host_state::HostState,
    session::{borrowed, borrowed_headers},
};

pub(super) const EXPORT: &str = "wasmill:handler/batch-handler@0.1.0";
const HANDLE: &str = "handle-batch";

type Answer = Vec<Result<(), Failure>>;

/// A component that was linked.
pub(crate) struct Pre {
    pre: InstancePre<HostState>,
    handle: ComponentExportIndex,
}

/// An instance that can be called.
pub(crate) struct Bound {
    instance: Instance,
    handle: ComponentExportIndex,
}

impl Pre {
    pub(super) fn new(component: &Component, pre: InstancePre<HostState>) -> Result<Self, LoadError> {
        let handle = find::<(&[types::Delivery<'_>],), (Answer,)>(component, &pre)?;
        Ok(Self { pre, handle })
    }

    pub(super) fn engine(&self) -> &Engine {
        self.pre.engine()
    }

    pub(super) async fn start(&self, store: &mut Store<HostState>) -> wasmtime::Result<Bound> {
        Ok(Bound { instance: self.pre.instantiate_async(store).await?, handle: self.handle })
    }
}

fn find<Params: ComponentNamedList + Lower, Return: ComponentNamedList + Lift>(
    component: &Component,
    pre: &InstancePre<HostState>,
) -> Result<ComponentExportIndex, LoadError> {
    let wrong = |problem: &str| LoadError::WrongExport { detail: format!("{HANDLE} {problem}") };
    let handler = component.get_export_index(None, EXPORT).ok_or_else(|| wrong("has no interface around it"))?;
    let (item, handle) = component.get_export(Some(&handler), HANDLE).ok_or_else(|| wrong("is missing"))?;
    let ComponentItem::ComponentFunc(function) = item else {
        return Err(wrong("is not a function"));
    };
    let types = function.typecheck::<Params, Return>(&pre.instance_type());
    types.map_err(|error| wrong(&format!("has other types: {error:#}")))?;
    Ok(handle)
}

/// One answer for each delivery; an error when the guest broke or answered with another number of them.
pub(super) async fn handle(
    bound: &Bound,
    store: &mut Store<HostState>,
    deliveries: &[Delivery],
) -> wasmtime::Result<Answer> {
    let headers: Vec<_> = deliveries.iter().map(borrowed_headers).collect();
    let list: Vec<types::Delivery<'_>> =
        deliveries.iter().zip(&headers).map(|(delivery, headers)| borrowed(delivery, headers)).collect();
    let handle = bound.instance.get_typed_func::<(&[types::Delivery<'_>],), (Answer,)>(&mut *store, &bound.handle)?;
    let (answer,) = handle.call_async(&mut *store, (&list,)).await?;
    if answer.len() != deliveries.len() {
        let (results, given) = (answer.len(), deliveries.len());
        return Err(wasmtime::Error::msg(format!("handle-batch answered {results} results for {given} deliveries")));
    }
    Ok(answer)
}
