;; Throws an exception, which this host does not have. | refused: exception
(component
  (core module $m (tag $t) (func (export "f") (throw $t)))
  (core instance (instantiate $m))
  (instance $handler) (export "wasmill:handler/handler@0.1.0" (instance $handler)))
