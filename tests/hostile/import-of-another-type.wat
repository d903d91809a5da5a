;; Takes a known function for one with other types. | refused: exit
(component
  (import "wasi:cli/exit@0.2.0" (instance (export "exit" (func (param "status" string) (result u64)))))
  (instance $handler) (export "wasmill:handler/handler@0.1.0" (instance $handler)))
