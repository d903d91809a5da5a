//! The attribute behind `#[wasmill::handler]`. Use it through the crate `wasmill`, which re-exports it.
//!
//! It is a crate of its own only because Rust wants that of procedural macros. All it does is to write the few
//! lines that call the function with its extracted parameters and export that as the component's handler; what
//! those lines call lives in `wasmill::glue`, so that this crate knows nothing of the contract.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::{Error, FnArg, ItemFn, Result, Signature, Type, spanned::Spanned};

/// Make a function the handler of this component.
///
/// The name of the function is free. Each parameter is of a type that implements `wasmill::FromDelivery`, and is
/// made from the delivery in the order written; the first that cannot be made ends the attempt with its failure.
/// The function returns `wasmill::Result`, a `Result<(), E>` with any other error, or nothing. A component has exactly one handler.
///
/// The function stays as it is written: natively it is a plain function that a unit test can call.
#[proc_macro_attribute]
pub fn handler(arguments: proc_macro::TokenStream, function: proc_macro::TokenStream) -> proc_macro::TokenStream {
    expand(&arguments.into(), function.into()).unwrap_or_else(Error::into_compile_error).into()
}

/// Make a function the handler of this component that takes many deliveries in one call. See `wasmill::batch_handler`.
#[proc_macro_attribute]
pub fn batch_handler(arguments: proc_macro::TokenStream, function: proc_macro::TokenStream) -> proc_macro::TokenStream {
    expand_batch(&arguments.into(), function.into()).unwrap_or_else(Error::into_compile_error).into()
}

fn expand_batch(arguments: &TokenStream, function: TokenStream) -> Result<TokenStream> {
    if !arguments.is_empty() {
        return Err(Error::new_spanned(arguments, "#[wasmill::batch_handler] takes no arguments"));
    }
    let function: ItemFn = syn::parse2(function)?;
    refuse_unusable(&function.sig)?;
    let name = &function.sig.ident;
    Ok(quote! {
        #[allow(clippy::needless_pass_by_value, reason = "a handler owns what it is given")]
        #function
        ::wasmill::export_batch!(#name);
    })
}

fn expand(arguments: &TokenStream, function: TokenStream) -> Result<TokenStream> {
    if !arguments.is_empty() {
        return Err(Error::new_spanned(arguments, "#[wasmill::handler] takes no arguments"));
    }
    let function: ItemFn = syn::parse2(function)?;
    let call = call_with_extracted(&function.sig)?;
    let export = export();
    Ok(quote! {
        #[allow(clippy::needless_pass_by_value, reason = "a handler owns what is extracted for it")]
        #function
        const _: () = {
            fn handle(delivery: ::wasmill::Delivery) -> ::wasmill::Result {
                let context = &::wasmill::glue::context(delivery);
                let _ = context;
                #call
            }
            #export
        };
    })
}

fn call_with_extracted(signature: &Signature) -> Result<TokenStream> {
    refuse_unusable(signature)?;
    let name = &signature.ident;
    let parameters = signature.inputs.iter().map(parameter_type).collect::<Result<Vec<_>>>()?;
    let extracted = parameters.iter().map(
        |parameter| quote_spanned! { parameter.span()=> <#parameter as ::wasmill::FromDelivery>::from_delivery(context)? },
    );
    Ok(quote! { ::wasmill::Answer::into_result(#name(#(#extracted),*)) })
}

fn refuse_unusable(signature: &Signature) -> Result<()> {
    if let Some(keyword) = &signature.asyncness {
        return Err(Error::new_spanned(keyword, "a handler is not async: it runs to its end, and the host waits"));
    }
    if !signature.generics.params.is_empty() {
        return Err(Error::new_spanned(&signature.generics, "a handler is not generic: the host calls it as it is"));
    }
    Ok(())
}

fn parameter_type(parameter: &FnArg) -> Result<&Type> {
    match parameter {
        FnArg::Typed(typed) => Ok(&typed.ty),
        FnArg::Receiver(receiver) => {
            Err(Error::new_spanned(receiver, "a handler is a function of its own, not a method"))
        }
    }
}

/// Exports `handle` from a component. Natively there is nothing to export; there it is only named, so that the
/// parameters are checked and nothing counts as unused.
fn export() -> TokenStream {
    quote! {
        #[cfg(not(target_family = "wasm"))]
        const _: fn(::wasmill::Delivery) -> ::wasmill::Result = handle;
        #[cfg(target_family = "wasm")]
        struct Component;
        #[cfg(target_family = "wasm")]
        impl ::wasmill::glue::Guest for Component {
            fn handle(delivery: ::wasmill::Delivery) -> ::core::result::Result<(), ::wasmill::glue::Failure> {
                handle(delivery).map_err(::core::convert::Into::into)
            }
        }
        #[cfg(target_family = "wasm")]
        ::wasmill::glue::bindings::export!(Component with_types_in ::wasmill::glue::bindings);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(function: TokenStream) -> String {
        expand(&TokenStream::new(), function).expect("a handler").to_string()
    }

    fn refused(arguments: &TokenStream, function: TokenStream) -> String {
        expand(arguments, function).expect_err("not a handler").to_string()
    }

    #[test]
    fn parameters_are_extracted_in_order() {
        let code = expanded(quote! { fn on_it(a: Text, b: Context) -> wasmill::Result { Ok(()) } });
        let text = code.find("< Text as :: wasmill :: FromDelivery >").expect("the first parameter");
        let context = code.find("< Context as :: wasmill :: FromDelivery >").expect("the second parameter");
        assert!(text < context, "{code}");
    }

    #[test]
    fn the_function_stays_as_written() {
        let function = quote! { pub fn nothing() -> wasmill::Result { Ok(()) } };
        assert!(expanded(function.clone()).contains(&function.to_string()));
    }

    #[test]
    fn what_cannot_be_a_handler_is_refused_with_the_reason() {
        let none = TokenStream::new();
        for (function, reason) in [
            (quote! { async fn f() -> wasmill::Result { Ok(()) } }, "not async"),
            (quote! { fn f<T>(t: T) -> wasmill::Result { Ok(()) } }, "not generic"),
            (quote! { fn f(&self) -> wasmill::Result { Ok(()) } }, "not a method"),
            (quote! { struct S; }, "expected"),
        ] {
            let message = refused(&none, function);
            assert!(message.contains(reason), "{message}");
        }
        let message = refused(&quote! { queue = "q" }, quote! { fn f() {} });
        assert!(message.contains("no arguments"), "{message}");
    }
}
