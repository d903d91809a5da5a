;; Wants a function that a known interface does not have. | refused: exec
(component
  (import "wasi:cli/exit@0.2.0" (instance (export "exec" (func (param "command" string)))))
  (instance $handler) (export "wasmill:handler/handler@0.1.0" (instance $handler)))
