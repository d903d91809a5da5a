;; A handler that takes a number. | refused: not with the types
(component
  (core module $m (func (export "handle") (param i32)))
  (core instance $i (instantiate $m))
  (func $handle (param "delivery" u32) (canon lift (core func $i "handle")))
  (instance $handler (export "handle" (func $handle)))
  (export "wasmill:handler/handler@0.1.0" (instance $handler)))
