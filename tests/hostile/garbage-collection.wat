;; Uses the garbage collector, which this host does not have. | refused: component
(component
  (core module $m
    (type $array (array (mut i64)))
    (func (export "f") (drop (array.new_default $array (i32.const 1000000000)))))
  (core instance (instantiate $m))
  (instance $handler) (export "wasmill:handler/handler@0.1.0" (instance $handler)))
