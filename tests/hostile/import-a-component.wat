;; Wants the host to give it a component. | refused: root-level component imports are not supported
(component
  (import "other" (component))
  (instance $handler) (export "wasmill:handler/handler@0.1.0" (instance $handler)))
